use std::io;
use std::path::Path;

use rds_iam::{Login, Service};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};

use crate::InvalidOptions;

const MAX_FILE_LEN: u64 = 16 << 20;

/// The trusted root certificates of an endpoint.
#[derive(Clone, Debug)]
pub struct Roots {
    certs: Vec<CertificateDer<'static>>,
    /// The region of the database, if the built-in roots lack the region's.
    missing_region: Option<String>,
}

impl Roots {
    /// Amazon's public roots, and for RDS the roots of the region in the host's name. All regions, if the name holds none.
    pub(crate) fn built_in(login: &Login, given_region: Option<&str>) -> Roots {
        if login.service() == Service::Dsql {
            return Roots {
                certs: rds_roots::AMAZON_ROOT_CERTS.to_vec(),
                missing_region: None,
            };
        }
        let rds = match login.region() {
            Some(region) => rds_roots::region_root_certs(region),
            None => rds_roots::RDS_ROOT_CERTS,
        };
        let region = login.region().or(given_region);
        let is_missing = |region: &&str| rds_roots::region_root_certs(region).is_empty();
        Roots {
            certs: [rds, rds_roots::AMAZON_ROOT_CERTS].concat(),
            missing_region: region.filter(is_missing).map(str::to_owned),
        }
    }

    pub(crate) fn given(certs: Vec<CertificateDer<'static>>) -> Result<Roots, InvalidOptions> {
        if certs.is_empty() {
            return Err(InvalidOptions::NoRoots);
        }
        let roots = Roots {
            certs,
            missing_region: None,
        };
        roots.to_store()?;
        Ok(roots)
    }

    pub(crate) fn from_file(file: &Path) -> Result<Roots, InvalidOptions> {
        // Not a pipe, which may wait for ever. AWS's bundle of all regions has 165 kB.
        let metadata = std::fs::metadata(file).map_err(pem::Error::Io);
        let certs = metadata.and_then(|metadata| {
            if !metadata.is_file() || metadata.len() > MAX_FILE_LEN {
                let text = "it is not a file of at most 16 MB";
                let error = io::Error::new(io::ErrorKind::InvalidInput, text);
                return Err(pem::Error::Io(error));
            }
            CertificateDer::pem_file_iter(file).and_then(Iterator::collect)
        });
        let certs: Vec<_> = certs.map_err(|source| InvalidOptions::RootFile {
            file: file.to_owned(),
            source,
        })?;
        if certs.is_empty() {
            return Err(InvalidOptions::EmptyRootFile {
                file: file.to_owned(),
            });
        }
        Roots::given(certs)
    }

    /// The certificates.
    pub fn certs(&self) -> &[CertificateDer<'static>] {
        &self.certs
    }

    /// The certificates for rustls.
    ///
    /// # Errors
    ///
    /// [`InvalidOptions::InvalidRoot`] if rustls cannot read a given certificate.
    pub fn to_store(&self) -> Result<RootCertStore, InvalidOptions> {
        let mut store = RootCertStore::empty();
        for cert in &self.certs {
            store.add(cert.clone())?;
        }
        Ok(store)
    }

    /// The region of the database, if no roots are built in for the region and none were given.
    pub fn missing_region(&self) -> Option<&str> {
        self.missing_region.as_deref()
    }
}
