use std::fmt;
use std::path::PathBuf;

use rds_iam::TokenCache;
use rustls::pki_types::CertificateDer;

use crate::{Endpoint, InvalidOptions, Roots, UrlParts};

/// The driver's own options `D`, and the settings of a connector.
///
/// The driver's options name host, port and user. The connector sets the password and the TLS, so do not set them.
#[derive(Clone)]
pub struct Options<D> {
    driver: D,
    cache: Option<TokenCache>,
    region: Option<String>,
    roots: RootsSetting,
    dial: Option<String>,
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
            .field("region", &self.region)
            .field("roots", &self.roots)
            .field("dial", &self.dial)
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
            region: None,
            roots: RootsSetting::BuiltIn,
            dial: None,
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

    /// The driver's own options.
    #[doc(hidden)]
    pub fn as_driver(&self) -> &D {
        &self.driver
    }

    /// Checks the settings for a login. For connectors.
    #[doc(hidden)]
    pub fn into_endpoint(
        self,
        host: &str,
        port: u16,
        user: &str,
    ) -> Result<(D, Endpoint), InvalidOptions> {
        let mut login = rds_iam::Login::new(host, port, user)?;
        let roots = match self.roots {
            RootsSetting::BuiltIn => Roots::built_in(&login, self.region.as_deref()),
            RootsSetting::Given(roots) => Roots::given(roots)?,
            RootsSetting::File(file) => Roots::from_file(&file)?,
        };
        if let Some(region) = self.region {
            login = login.with_region(&region)?;
        }
        let endpoint = Endpoint {
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
