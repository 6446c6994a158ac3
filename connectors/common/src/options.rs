use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rds_iam::{Login, Service, TokenCache};
use rustls::pki_types::CertificateDer;

use crate::endpoint::max_lifetime;
use crate::{Endpoint, InvalidOptions, Protocol, Roots, UrlParts};

/// The driver's own options `D`, and the settings of a connector.
///
/// The driver's options name host, port and user. The connector sets the password and the TLS, so do not set them.
#[derive(Clone)]
pub struct Options<D> {
    driver: D,
    cache: Option<TokenCache>,
    is_for_dsql: bool,
    region: Option<String>,
    roots: RootsSetting,
    dial: Option<String>,
    max_lifetime: Option<Duration>,
}

#[derive(Clone)]
enum RootsSetting {
    BuiltIn,
    Given(Vec<CertificateDer<'static>>),
    File(PathBuf),
}

/// Without the driver's options, because they may hold a password.
impl<D> fmt::Debug for Options<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("cache", &self.cache)
            .field("is_for_dsql", &self.is_for_dsql)
            .field("region", &self.region)
            .field("roots", &self.roots)
            .field("dial", &self.dial)
            .field("max_lifetime", &self.max_lifetime)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RootsSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootsSetting::BuiltIn => f.write_str("built in"),
            RootsSetting::Given(roots) => write!(f, "{} given", roots.len()),
            RootsSetting::File(file) => file.fmt(f),
        }
    }
}

impl<D> Options<D> {
    /// Options over the driver's own options, with the process-wide cache, the built-in roots, and the host's own address.
    pub fn new(driver: D) -> Options<D> {
        Options {
            driver,
            cache: None,
            is_for_dsql: false,
            region: None,
            roots: RootsSetting::BuiltIn,
            dial: None,
            max_lifetime: None,
        }
    }

    /// Options from a checked URL. For connectors.
    #[doc(hidden)]
    pub fn from_url_parts(driver: D, parts: UrlParts) -> Options<D> {
        Options {
            roots: parts
                .root_file
                .map_or(RootsSetting::BuiltIn, RootsSetting::File),
            ..Options::new(driver)
        }
    }

    /// Changes the driver's own options.
    pub fn driver(self, change: impl FnOnce(D) -> D) -> Options<D> {
        Options {
            driver: change(self.driver),
            ..self
        }
    }

    /// Takes tokens from `cache` instead of [`rds_iam::shared_cache`].
    pub fn cache(self, cache: TokenCache) -> Options<D> {
        Options {
            cache: Some(cache),
            ..self
        }
    }

    /// Signs for Aurora DSQL, if the cluster's endpoint has another form than `CLUSTER.dsql.REGION.on.aws`. See
    /// [`Login::for_dsql`](rds_iam::Login::for_dsql).
    ///
    /// With a connector for MySQL, this is the error [`InvalidOptions::DsqlOverMySql`].
    pub fn for_dsql(self) -> Options<D> {
        Options {
            is_for_dsql: true,
            ..self
        }
    }

    /// Signs for `region` instead of the region in the host's name. For hosts without a region in the name, such as
    /// Aurora's global endpoint.
    pub fn region(self, region: &str) -> Options<D> {
        Options {
            region: Some(region.to_owned()),
            ..self
        }
    }

    /// Trusts `roots` instead of the built-in root certificates.
    pub fn roots(self, roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Options<D> {
        Options {
            roots: RootsSetting::Given(roots.into_iter().collect()),
            ..self
        }
    }

    /// Connects to `address` (`HOST:PORT`) instead of the database's own host and port, for a tunnel. The token is signed
    /// for the database's own host and port, and the server's certificate must have the host's name.
    pub fn dial(self, address: &str) -> Options<D> {
        Options {
            dial: Some(address.to_owned()),
            ..self
        }
    }

    /// Replaces pooled connections that are older. For tests, which cannot wait for the limit of Aurora DSQL.
    #[doc(hidden)]
    pub fn max_lifetime(self, max_lifetime: Duration) -> Options<D> {
        Options {
            max_lifetime: Some(max_lifetime),
            ..self
        }
    }

    /// The driver's own options.
    #[doc(hidden)]
    pub fn as_driver(&self) -> &D {
        &self.driver
    }

    /// Checks the settings for a login. For connectors.
    #[doc(hidden)]
    pub fn into_endpoint(
        self,
        protocol: Protocol,
        host: &str,
        port: u16,
        user: &str,
    ) -> Result<(D, Endpoint), InvalidOptions> {
        let mut login = match self.is_for_dsql {
            true => Login::for_dsql(host, port, user)?,
            false => Login::new(host, port, user)?,
        };
        if protocol == Protocol::MySql && login.service() == Service::Dsql {
            return Err(InvalidOptions::DsqlOverMySql);
        }
        let roots = match self.roots {
            RootsSetting::BuiltIn => Roots::built_in(&login, self.region.as_deref()),
            RootsSetting::Given(roots) => Roots::given(roots)?,
            RootsSetting::File(file) => Roots::from_file(&file)?,
        };
        if let Some(region) = self.region {
            login = login.with_region(&region)?;
        }
        let endpoint = Endpoint {
            max_lifetime: self.max_lifetime.or(max_lifetime(login.service())),
            cache: self
                .cache
                .unwrap_or_else(|| rds_iam::shared_cache().clone()),
            login,
            roots,
            dial: self.dial.map(|address| address.parse()).transpose()?,
        };
        Ok((self.driver, endpoint))
    }
}
