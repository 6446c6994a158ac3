//! The arguments that the examples of the drivers share: `[--ca FILE] [--dial HOST:PORT] URL`

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail, ensure};
use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

pub struct Args {
    /// A file of root certificates to trust instead of the built-in ones.
    pub ca: Option<PathBuf>,
    /// Where to connect when it is not the database's own endpoint: the near end of a tunnel, say.
    pub dial: Option<String>,
    pub url: Url,
}

impl Args {
    pub fn parse() -> anyhow::Result<Args> {
        const USAGE: &str = "usage: [--ca FILE] [--dial HOST:PORT] URL";
        let mut args = std::env::args_os().skip(1);
        let in_utf8 = |arg: OsString| {
            arg.into_string()
                .map_err(|arg| anyhow!("{arg:?} is not UTF-8"))
        };
        let (mut ca, mut dial, mut url) = (None, None, None);
        while let Some(arg) = args.next() {
            let arg = in_utf8(arg)?;
            match &*arg {
                "--ca" => ca = Some(args.next().context(USAGE)?.into()),
                "--dial" => dial = Some(in_utf8(args.next().context(USAGE)?)?),
                _ if url.is_none() && !arg.starts_with('-') => url = Some(arg),
                _ => bail!(USAGE),
            }
        }
        Ok(Args {
            ca,
            dial,
            url: url
                .context(USAGE)?
                .parse()
                .context("the URL cannot be read")?,
        })
    }

    /// The trusted root certificates: in `--ca FILE`, or built in.
    pub fn roots(&self) -> anyhow::Result<Vec<CertificateDer<'static>>> {
        let Some(file) = &self.ca else {
            return Ok([rds_roots::RDS_ROOT_CERTS, rds_roots::AMAZON_ROOT_CERTS].concat());
        };
        let roots: Vec<_> = CertificateDer::pem_file_iter(file)
            .and_then(Iterator::collect)
            .with_context(|| format!("no certificates from {file:?}"))?;
        ensure!(!roots.is_empty(), "no certificates in {file:?}");
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
