//! The arguments that the examples of the drivers share: `[--ca FILE] [--dial HOST:PORT] URL`

use anyhow::{Context, anyhow, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

pub struct Args {
    /// Whom the server's certificate must come from: those in `--ca FILE`, such as
    /// <https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem>, else those that the platform trusts.
    pub roots: Vec<CertificateDer<'static>>,
    /// Where to connect when it is not the database's own endpoint: the near end of a tunnel, say.
    pub dial: Option<String>,
    pub url: Url,
}

impl Args {
    pub fn parse() -> anyhow::Result<Args> {
        const USAGE: &str = "usage: [--ca FILE] [--dial HOST:PORT] URL";
        let (mut ca, mut dial, mut url) = (None, None, None);
        let mut args = std::env::args_os().skip(1);
        while let Some(arg) = args.next() {
            let arg = arg
                .into_string()
                .map_err(|arg| anyhow!("{arg:?} is not UTF-8"))?;
            match &*arg {
                "--ca" => ca = Some(args.next().context(USAGE)?),
                "--dial" => {
                    dial = Some(
                        args.next()
                            .context(USAGE)?
                            .into_string()
                            .ok()
                            .context(USAGE)?,
                    )
                }
                _ if url.is_none() => url = Some(arg),
                _ => bail!(USAGE),
            }
        }
        Ok(Args {
            roots: match ca {
                Some(file) => CertificateDer::pem_file_iter(&file)
                    .and_then(Iterator::collect)
                    .with_context(|| format!("no certificates from {file:?}"))?,
                None => rustls_native_certs::load_native_certs().certs,
            },
            dial,
            url: url
                .context(USAGE)?
                .parse()
                .context("the URL cannot be read")?,
        })
    }
}
