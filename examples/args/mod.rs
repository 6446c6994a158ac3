//! The arguments that the examples of the drivers share: `[--ca FILE] [--dial HOST:PORT] URL`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

pub struct Args {
    /// Whom the server's certificate must come from, such as those in
    /// <https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem>.
    pub ca: Option<PathBuf>,
    /// Where to connect when it is not the database's own endpoint: the near end of a tunnel, say.
    pub dial: Option<String>,
    pub url: Url,
}

impl Args {
    #[allow(dead_code, reason = "the pools have an argument more")]
    pub fn parse() -> anyhow::Result<Args> {
        const USAGE: &str = "usage: [--ca FILE] [--dial HOST:PORT] URL";
        Args::parse_from(std::env::args_os().skip(1), USAGE)
    }

    pub fn parse_from(
        mut args: impl Iterator<Item = OsString>,
        usage: &'static str,
    ) -> anyhow::Result<Args> {
        let in_utf8 = |arg: OsString| {
            arg.into_string()
                .map_err(|arg| anyhow!("{arg:?} is not UTF-8"))
        };
        let (mut ca, mut dial, mut url) = (None, None, None);
        while let Some(arg) = args.next() {
            let arg = in_utf8(arg)?;
            match &*arg {
                "--ca" => ca = Some(args.next().context(usage)?.into()),
                "--dial" => dial = Some(in_utf8(args.next().context(usage)?)?),
                _ if url.is_none() && !arg.starts_with('-') => url = Some(arg),
                _ => bail!(usage),
            }
        }
        Ok(Args {
            ca,
            dial,
            url: url
                .context(usage)?
                .parse()
                .context("the URL cannot be read")?,
        })
    }

    /// The certificates in `--ca FILE`, or of the platform if none is given, and Amazon's public ones.
    pub fn roots(&self) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let mut roots = match &self.ca {
            Some(file) => CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect)
                .with_context(|| format!("no certificates from {file:?}"))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        ensure!(!roots.is_empty(), "no certificate to trust: give --ca FILE");
        roots.extend(amazons_public_roots());
        Ok(roots)
    }

    /// The database that the URL names.
    pub fn database(&self) -> anyhow::Result<String> {
        let path = self.url.path();
        let name = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8();
        Ok(name
            .context("the database's name is not UTF-8")?
            .into_owned())
    }
}

/// The roots of RDS Proxy and Aurora Serverless, which the bundle for RDS does not contain.
fn amazons_public_roots() -> impl Iterator<Item = CertificateDer<'static>> {
    const NAMES: [&str; 2] = [
        "Amazon Root CA ",
        "Starfield Services Root Certificate Authority - G2",
    ];
    let is_amazons = |root: &&CertificateDer<'_>| {
        NAMES.iter().any(|name| {
            let mut parts = root.windows(name.len());
            parts.any(|part| part == name.as_bytes())
        })
    };
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter(is_amazons)
        .cloned()
}

#[cfg(test)]
#[test]
fn amazons_public_roots_are_five() {
    assert_eq!(amazons_public_roots().count(), 5);
}
