use std::io;

use mysql_async::{Conn, DriverError, IoError, Opts, OptsBuilder, PoolOpts, SslOpts};
use rds_iam::{Token, rejection};
use rds_iam_connector::{CONNECT_TIMEOUT, Endpoint, InvalidOptions, Protocol};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use crate::{Error, Options};

/// A database to log in to, and the driver's options for each connection.
pub(crate) struct Connector {
    /// Without a password. Clones share the driver's TLS configuration, so the driver reads the roots only once.
    options: OptsBuilder,
    endpoint: Endpoint,
}

impl Connector {
    pub(crate) fn new(options: Options) -> Result<Connector, Error> {
        let given = Opts::from(options.as_driver().clone());
        check(&given)?;
        let host = given.ip_or_hostname();
        let user = given.user().unwrap_or_default();
        let (options, endpoint) =
            options.into_endpoint(Protocol::MySql, host, given.tcp_port(), user)?;
        if endpoint.dial.is_some() && given.resolved_ips().is_some() {
            return Err(invalid(
                "resolved_ips",
                "`dial` names an address too. Give only `dial` or only `resolved_ips`",
            ))?;
        }
        install_crypto_provider();

        let roots = endpoint.roots.certs();
        let identity = given.ssl_opts().and_then(SslOpts::client_identity);
        let tls = SslOpts::default()
            .with_client_identity(identity.cloned())
            .with_disable_built_in_roots(true)
            .with_root_certs(roots.iter().map(|root| root.to_vec().into()).collect())
            // The name to verify, whatever is dialled.
            .with_danger_tls_hostname_override(Some(endpoint.server_name().to_owned()));
        let address = endpoint.address();
        let options = options
            .ip_or_hostname(address.host)
            .tcp_port(address.port)
            .user(Some(endpoint.login.user()))
            .ssl_opts(tls)
            // RDS asks for the token itself. The token is inside TLS.
            .enable_cleartext_plugin(true)
            // To the driver, a server on the same host may have a socket. A socket has no TLS.
            .prefer_socket(false);
        Ok(Connector { options, endpoint })
    }

    pub(crate) async fn connect(&self) -> Result<Conn, Error> {
        let connect = |token: Token| {
            let connecting = Conn::new(self.options.clone().pass(Some(token.as_str())));
            let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting);
            async { connected.await.unwrap_or_else(|_| Err(timed_out())) }
        };
        let Endpoint { cache, login, .. } = &self.endpoint;
        let connected = cache.log_in(login, connect, is_rejection).await;
        connected.map_err(|error| Error::sort(error, &self.endpoint, is_rejection, is_tls))
    }

    #[cfg(feature = "deadpool")]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

fn timed_out() -> mysql_async::Error {
    let text = "the server has not answered for 30 s";
    io::Error::new(io::ErrorKind::TimedOut, text).into()
}

pub(crate) fn invalid(option: &'static str, reason: &'static str) -> InvalidOptions {
    InvalidOptions::Driver { option, reason }
}

/// Rejects the driver's options that the connector does not honour.
fn check(given: &Opts) -> Result<(), InvalidOptions> {
    const DEFAULT_HOST: &str = "127.0.0.1";
    if given.socket().is_some() {
        return Err(invalid(
            "socket",
            "RDS has no local socket, and a socket has no TLS. Give the database's host",
        ));
    }
    if given.ip_or_hostname() == DEFAULT_HOST {
        return Err(invalid(
            "ip_or_hostname",
            "127.0.0.1 is the driver's default, and no database of RDS. Give the database's own host, and use `dial` for a tunnel",
        ));
    }
    if given.pass().is_some() {
        return Err(invalid(
            "pass",
            "the token takes the password's place. Remove the password",
        ));
    }
    if !given.secure_auth() {
        return Err(invalid(
            "secure_auth",
            "`false` allows the password hash of MySQL 4.0. Leave the option out",
        ));
    }
    if given.pool_opts() != &PoolOpts::default() {
        return Err(invalid("pool_opts", crate::OWN_POOL));
    }
    if given.conn_ttl().is_some() {
        return Err(invalid("conn_ttl", crate::OWN_POOL));
    }
    given.ssl_opts().map_or(Ok(()), check_tls)
}

fn check_tls(given: &SslOpts) -> Result<(), InvalidOptions> {
    if given.accept_invalid_certs() {
        return Err(invalid(
            "danger_accept_invalid_certs",
            "it asks for less than verified TLS. Remove it",
        ));
    }
    if given.skip_domain_validation() {
        return Err(invalid(
            "danger_skip_domain_validation",
            "it asks for less than verified TLS. Remove it",
        ));
    }
    if given.tls_hostname_override().is_some() {
        return Err(invalid(
            "danger_tls_hostname_override",
            "the certificate must have the name of the database's host. Use `dial` to connect to another address",
        ));
    }
    if !given.root_certs().is_empty() {
        return Err(invalid(
            "root_certs",
            "root certificates are a setting of the connector. Give them with `roots`, or in the URL with `ssl-ca`",
        ));
    }
    Ok(())
}

/// Without a provider of the process, rustls chooses a provider, and panics if two are compiled in.
fn install_crypto_provider() {
    if CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster. Its provider is as good.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

fn is_rejection(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(error) if error.code == rejection::ER_ACCESS_DENIED_ERROR)
}

/// Errors of TLS that do not come from rustls.
fn is_tls(error: &mysql_async::Error) -> bool {
    matches!(
        error,
        mysql_async::Error::Driver(
            DriverError::NoClientSslFlagFromServer | DriverError::NoKeyFound
        ) | mysql_async::Error::Io(IoError::Tls(_))
    )
}

#[cfg(test)]
mod tests {
    use mysql_async::ClientIdentity;

    use super::*;

    const HOST: &str = "mydb.abc123xyz.us-east-1.rds.amazonaws.com";

    /// The driver's options for each connection.
    fn opts(options: Options) -> Result<Opts, Error> {
        Ok(Connector::new(options)?.options.into())
    }

    #[test]
    fn each_connection_has_verified_tls() -> Result<(), Error> {
        let identity = ClientIdentity::new(vec![1].into(), vec![2].into());
        let driver = OptsBuilder::default()
            .ip_or_hostname("MyDB.abc123xyz.us-east-1.rds.amazonaws.com.")
            .user(Some("app"))
            .stmt_cache_size(7)
            .ssl_opts(SslOpts::default().with_client_identity(Some(identity.clone())));
        let opts = opts(Options::new(driver).dial("[::1]:13306"))?;

        assert_eq!((opts.ip_or_hostname(), opts.tcp_port()), ("::1", 13306));
        assert!(opts.enable_cleartext_plugin() && opts.secure_auth());
        assert!(!opts.prefer_socket());
        assert_eq!((opts.pass(), opts.stmt_cache_size()), (None, 7));
        let tls = SslOpts::default()
            .with_client_identity(Some(identity))
            .with_disable_built_in_roots(true)
            .with_danger_tls_hostname_override(Some(HOST))
            .with_root_certs(
                opts.ssl_opts()
                    .map_or(Vec::new(), |tls| tls.root_certs().to_vec()),
            );
        assert_eq!(opts.ssl_opts(), Some(&tls));
        assert!(tls.root_certs().len() > 5);
        Ok(())
    }
}
