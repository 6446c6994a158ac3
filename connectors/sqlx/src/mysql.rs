//! Pools for MySQL, MariaDB and Aurora MySQL.

use std::path::Path;
use std::sync::Mutex;

use rds_iam::rejection;
use rds_iam_connector::{InvalidOptions, Protocol, UrlParameters};
use sqlx::ConnectOptions as _;
use sqlx::mysql::{
    MySql, MySqlConnectOptions, MySqlDatabaseError, MySqlPool, MySqlPoolOptions, MySqlSslMode,
};

use crate::driver::{self, Driver, Refreshers};
use crate::{Error, refresher};

/// sqlx's own options for MySQL and MariaDB, and the settings of the connector.
///
/// Of sqlx's options, `ssl_mode` is `VerifyIdentity` or `Preferred` (sqlx's default, which the connector raises). Root
/// certificates are given with [`roots`](crate::Options::roots), and the password is the token.
pub type Options = crate::Options<MySqlConnectOptions>;

const PARAMETERS: UrlParameters = UrlParameters::mysql(&[
    "charset",
    "collation",
    "ssl-cert",
    "ssl-key",
    "sslcert",
    "sslkey",
    "statement-cache-capacity",
    "time-zone",
    "timezone",
]);

/// Opens a pool whose new connections always have a valid token.
///
/// # Errors
///
/// If the URL asks for something that the connector does not do, or if there is no first connection.
pub async fn connect(url: &str) -> Result<MySqlPool, Error> {
    connect_with(options(url)?, MySqlPoolOptions::new()).await
}

/// Reads a URL: `mysql://USER@HOST:PORT/DATABASE` or `mariadb://…`. The port is 3306 if the URL names none.
///
/// The URL's parameters mean what they mean to sqlx. `ssl-ca` names a file of root certificates to trust instead of the
/// built-in ones. `ssl-mode` may only be `VERIFY_IDENTITY`.
///
/// # Errors
///
/// [`Error::InvalidOptions`] if the URL asks for something that the connector does not do. Nothing is ignored.
pub fn options(url: &str) -> Result<Options, Error> {
    let parts = PARAMETERS.read(url)?;
    let options =
        MySqlConnectOptions::from_url(&parts.url).map_err(|error| InvalidOptions::DriverUrl {
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
pub async fn connect_with(options: Options, pool: MySqlPoolOptions) -> Result<MySqlPool, Error> {
    driver::connect::<MySql>(options, pool).await
}

/// Replaces the pool's token now, with newly fetched credentials. For a login that the database has rejected.
///
/// The cache fetches credentials every 30 s at most.
///
/// # Errors
///
/// - [`Error::Token`] if there is no token.
/// - [`Error::InvalidOptions`] if the pool is closed, or not from this crate.
pub async fn refresh(pool: &MySqlPool) -> Result<(), Error> {
    refresher::refresh(pool).await
}

impl Driver for MySql {
    const PROTOCOL: Protocol = Protocol::MySql;

    fn check(options: &MySqlConnectOptions) -> Result<(String, u16, String), InvalidOptions> {
        let invalid = |option, reason| Err(InvalidOptions::Driver { option, reason });
        if options.get_socket().is_some() {
            return invalid(
                "socket",
                "RDS has no local socket, and a socket has no TLS. Give the database's host",
            );
        }
        // `Preferred` is the default.
        if !matches!(
            options.get_ssl_mode(),
            MySqlSslMode::VerifyIdentity | MySqlSslMode::Preferred
        ) {
            return invalid(
                "ssl_mode",
                "it asks for less than verified TLS. Leave it out, or set `VerifyIdentity`",
            );
        }
        // Only the URL tells. A name that is no part of a URL would make sqlx panic.
        let url = options.clone().username("user").host("host").to_url_lossy();
        if url.password().is_some() {
            return invalid(
                "password",
                "the token takes its place. Leave the password out",
            );
        }
        if url.query_pairs().any(|(name, _)| name == "ssl-ca") {
            return invalid(
                "ssl_ca",
                "give root certificates with `roots`, or in the URL with `ssl-ca`",
            );
        }
        Ok((
            options.get_host().to_owned(),
            options.get_port(),
            options.get_username().to_owned(),
        ))
    }

    fn with_tls(
        options: MySqlConnectOptions,
        server_name: &str,
        roots: String,
    ) -> MySqlConnectOptions {
        options
            .host(server_name)
            .ssl_mode(MySqlSslMode::VerifyIdentity)
            .ssl_ca_from_pem(roots.into_bytes())
            // The plugin of RDS asks for the token itself. The token is inside TLS.
            .enable_cleartext_plugin(true)
    }

    fn with_socket(
        options: MySqlConnectOptions,
        directory: &Path,
    ) -> (MySqlConnectOptions, String) {
        const SOCKET: &str = "mysql.sock";
        (options.socket(directory.join(SOCKET)), SOCKET.to_owned())
    }

    fn with_password(options: MySqlConnectOptions, token: &str) -> MySqlConnectOptions {
        options.password(token)
    }

    fn is_rejection(error: &sqlx::Error) -> bool {
        error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
            .is_some_and(|error| error.number() == rejection::ER_ACCESS_DENIED_ERROR)
    }

    fn refreshers() -> &'static Refreshers<MySql> {
        static REFRESHERS: Refreshers<MySql> = Mutex::new(Vec::new());
        &REFRESHERS
    }
}
