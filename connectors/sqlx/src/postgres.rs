//! Pools for PostgreSQL, Aurora PostgreSQL and Aurora DSQL.
//!
//! sqlx replaces a connection after 30 to 40 minutes. If you set `max_lifetime` or `idle_timeout`, keep their sum at 55 minutes
//! or below for Aurora DSQL ([guide](https://docs.rs/rds-iam/latest/rds_iam/guide/dsql/#replace-connections-before-60-minutes)).

use std::path::Path;
use std::sync::Mutex;

use rds_iam::rejection;
use rds_iam_connector::{InvalidOptions, Protocol, UrlParameters};
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode, Postgres};

use crate::driver::{self, Driver, Refreshers};
use crate::{Error, refresher};

/// sqlx's own options for PostgreSQL, and the settings of the connector.
///
/// Of sqlx's options, `ssl_mode` is `VerifyFull` or `Prefer` (sqlx's default, which the connector raises). Root certificates
/// are given with [`roots`](crate::Options::roots), and the password is the token.
pub type Options = crate::Options<PgConnectOptions>;

const PARAMETERS: UrlParameters = UrlParameters::postgres(&[
    "application_name",
    "dbname",
    "options",
    "options[",
    "ssl-cert",
    "ssl-key",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
]);

/// Opens a pool whose new connections always have a valid token.
///
/// # Errors
///
/// If the URL asks for something that the connector does not do, or if there is no first connection.
pub async fn connect(url: &str) -> Result<PgPool, Error> {
    connect_with(options(url)?, PgPoolOptions::new()).await
}

/// Reads a URL: `postgres://USER@HOST:PORT/DATABASE`. The port is 5432 if the URL names none.
///
/// The URL's parameters mean what they mean to sqlx. `sslrootcert` names a file of root certificates to trust instead of the
/// built-in ones. `sslmode` may only be `verify-full`.
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the URL asks for something that the connector does not do. Nothing is ignored.
pub fn options(url: &str) -> Result<Options, Error> {
    let parts = PARAMETERS.read(url)?;
    let options =
        PgConnectOptions::from_url(&parts.url).map_err(|error| InvalidOptions::DriverUrl {
            source: error.into(),
        })?;
    let options = options
        .host(parts.login.host())
        .port(parts.login.port())
        .username(parts.login.user());
    Ok(Options::from_url_parts(options, parts))
}

/// Opens a pool with the driver's own options for connections and for the pool.
///
/// # Errors
///
/// If the options ask for something that the connector does not do, or if there is no first connection.
pub async fn connect_with(options: Options, pool: PgPoolOptions) -> Result<PgPool, Error> {
    driver::connect::<Postgres>(options, pool).await
}

/// Replaces the pool's token now, with newly fetched credentials. For a login that the database has rejected.
///
/// The cache fetches credentials every 30 s at most.
///
/// # Errors
///
/// - [`Error::Token`] if there is no token.
/// - [`Error::InvalidOptions`] if the pool is closed, or not from this crate.
pub async fn refresh(pool: &PgPool) -> Result<(), Error> {
    refresher::refresh(pool).await
}

impl Driver for Postgres {
    const PROTOCOL: Protocol = Protocol::Postgres;

    fn check(options: &PgConnectOptions) -> Result<(String, u16, String), InvalidOptions> {
        let invalid = |option, reason| Err(InvalidOptions::Driver { option, reason });
        let host = options.get_host();
        if options.get_socket().is_some() || host.starts_with('/') {
            return invalid(
                "socket",
                "RDS has no local socket, and a socket has no TLS. Give the database's host",
            );
        }
        // `Prefer` is the default.
        if !matches!(
            options.get_ssl_mode(),
            PgSslMode::VerifyFull | PgSslMode::Prefer
        ) {
            return invalid(
                "ssl_mode",
                "it asks for less than verified TLS. Leave it out, or set `VerifyFull`. `PGSSLMODE` sets it too",
            );
        }
        // Only the URL tells. A name that is no part of a URL would make sqlx panic.
        let url = options.clone().username("user").host("host").to_url_lossy();
        if url.query_pairs().any(|(name, _)| name == "sslrootcert") {
            return invalid(
                "ssl_root_cert",
                "give root certificates with `roots`, or in the URL with `sslrootcert`. `PGSSLROOTCERT` sets it too",
            );
        }
        let user = options.get_username();
        Ok((host.to_owned(), options.get_port(), user.to_owned()))
    }

    fn with_tls(options: PgConnectOptions, server_name: &str, roots: String) -> PgConnectOptions {
        options
            .host(server_name)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert_from_pem(roots.into_bytes())
    }

    fn with_socket(options: PgConnectOptions, directory: &Path) -> (PgConnectOptions, String) {
        let socket = format!(".s.PGSQL.{}", options.get_port());
        (options.socket(directory), socket)
    }

    fn with_password(options: PgConnectOptions, token: &str) -> PgConnectOptions {
        options.password(token)
    }

    fn is_rejection(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(|error| {
            let sqlstate = error.code().unwrap_or_default();
            rejection::is_postgres_rejection(&sqlstate, error.message())
        })
    }

    fn refreshers() -> &'static Refreshers<Postgres> {
        static REFRESHERS: Refreshers<Postgres> = Mutex::new(Vec::new());
        &REFRESHERS
    }
}
