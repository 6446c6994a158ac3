//! How a connection is opened, for the client and for all pools.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rds_iam::{Token, rejection};
use rds_iam_connector::{Address, CONNECT_TIMEOUT, Endpoint, InvalidOptions, Protocol};
use rustls::ClientConfig;
use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding, Host, LoadBalanceHosts, SslMode, SslNegotiation};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::driver_error;
use crate::{Error, Options};
use rds_iam_connector::ErrorChain;

/// A client, and the connection that somebody must drive.
pub(crate) type Connected = (
    Client,
    Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>,
);

/// Opens connections to a database.
pub(crate) struct Connector {
    endpoint: Endpoint,
    /// The driver's settings without host, address, port and password.
    config: Config,
    /// Shared by all connections, so that they can resume TLS sessions.
    tls: MakeRustlsConnect,
}

impl Connector {
    pub(crate) fn new(options: Options) -> Result<Connector, Error> {
        let (host, port, user) = check(options.as_driver())?;
        let (host, user) = (host.to_owned(), user.to_owned());
        let (config, endpoint) = options.into_endpoint(Protocol::Postgres, &host, port, &user)?;
        Ok(Connector {
            tls: tls(&config, &endpoint)?,
            config: for_any_endpoint(&config),
            endpoint,
        })
    }

    #[cfg(any(feature = "deadpool", feature = "diesel-async"))]
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Logs in with a token of the cache, and once more with a new token if the database rejects the first.
    pub(crate) async fn connect(&self) -> Result<Connected, Error> {
        let Endpoint { cache, login, .. } = &self.endpoint;
        cache
            .log_in(login, |token| self.log_in(token), is_rejection)
            .await
            .map_err(|error| Error::sort(error, &self.endpoint, is_rejection, is_tls))
    }

    async fn log_in(&self, token: Token) -> Result<Connected, tokio_postgres::Error> {
        let mut config = self.config.clone();
        config.password(token.as_str());
        // The driver's own limit is for TCP only.
        match tokio::time::timeout(CONNECT_TIMEOUT, self.try_addresses(config)).await {
            Ok(connected) => connected,
            Err(_) => {
                let text = "the server has not answered for 30 s";
                Err(driver_error(io::Error::new(io::ErrorKind::TimedOut, text)).await)
            }
        }
    }

    /// Tries the addresses of the host in turn. Unlike the driver, stops at the first server that answers: the next address
    /// would get the same token, and its error would hide the answer.
    async fn try_addresses(&self, config: Config) -> Result<Connected, tokio_postgres::Error> {
        let addresses = match self.addresses().await {
            Ok(addresses) => addresses,
            Err(error) => return Err(driver_error(error).await),
        };
        let mut last_error = None;
        for address in &addresses {
            let config = self.addressed(config.clone(), *address, addresses.len());
            match config.connect(self.tls.clone()).await {
                Err(error) if error.as_db_error().is_none() && !is_tls(&error) => {
                    last_error = Some(error);
                }
                outcome => return outcome,
            }
        }
        match last_error {
            Some(error) => Err(error),
            None => {
                let error = io::Error::other("the host's name has no address");
                Err(driver_error(error).await)
            }
        }
    }

    /// The driver's settings with an address of the host, one of `count`. TLS verifies the host's name, whatever the address.
    fn addressed(&self, mut config: Config, address: SocketAddr, count: usize) -> Config {
        config
            .host(self.endpoint.server_name())
            .hostaddr(address.ip())
            .port(address.port());
        if config.get_connect_timeout().is_none() {
            // An address without a server leaves time for the next address.
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            config.connect_timeout(CONNECT_TIMEOUT / count);
        }
        config
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let Address { host, port } = self.endpoint.address();
        let addresses = tokio::net::lookup_host((&*host, port)).await?;
        let mut addresses: Vec<SocketAddr> = addresses.collect();
        if self.config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            let by_chance = RandomState::new();
            addresses.sort_by_key(|address| by_chance.hash_one(address));
        }
        Ok(addresses)
    }
}

/// Spawns the task that drives a connection. The task ends when the client is dropped.
pub(crate) fn drive((client, connection): Connected) -> (Client, JoinHandle<()>) {
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!(error = %ErrorChain(&error), "the connection to the database failed");
        }
    });
    (client, task)
}

/// The host, port and user of the driver's settings, if the connector can honour all settings.
pub(crate) fn check(config: &Config) -> Result<(&str, u16, &str), InvalidOptions> {
    let invalid = |option, reason| Err(InvalidOptions::Driver { option, reason });
    if config.get_password().is_some() {
        return invalid(
            "password",
            "the token takes its place. Leave the password out",
        );
    }
    if config.get_ssl_mode() == SslMode::Disable {
        return invalid(
            "ssl_mode",
            "a token is sent over verified TLS only. Leave the mode out, or set `Require`",
        );
    }
    // The database asks for a password in clear text, and the driver would then end the login.
    if config.get_channel_binding() == ChannelBinding::Require {
        return invalid(
            "channel_binding",
            "RDS does not support channel binding for IAM logins. Leave the option out",
        );
    }
    if !config.get_hostaddrs().is_empty() {
        return invalid(
            "hostaddr",
            "give the database's host alone. Use `dial` to connect to another address",
        );
    }
    let host = match config.get_hosts() {
        [Host::Tcp(host)] => host,
        #[cfg(unix)]
        [Host::Unix(_)] => {
            return invalid(
                "host",
                "RDS has no local socket, and a socket has no TLS. Give the database's host",
            );
        }
        [] => return invalid("host", "there is none. Give the database's host"),
        _ => {
            return invalid(
                "host",
                "there are several. A token is for a single host: give the host to log in to",
            );
        }
    };
    let port = match config.get_ports() {
        [] => 5432,
        [port] => *port,
        _ => return invalid("port", "there are several. Give a single port"),
    };
    let Some(user) = config.get_user() else {
        return invalid("user", "there is none. Give the database user to log in as");
    };
    Ok((host, port, user))
}

/// All settings but host, port and password, with TLS required. A `Config` cannot lose a host, so this is a new `Config`.
pub(crate) fn for_any_endpoint(given: &Config) -> Config {
    let mut config = Config::new();
    config
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(given.get_ssl_negotiation())
        .keepalives(given.get_keepalives())
        .keepalives_idle(given.get_keepalives_idle())
        .target_session_attrs(given.get_target_session_attrs())
        .channel_binding(given.get_channel_binding())
        .load_balance_hosts(given.get_load_balance_hosts());
    if let Some(user) = given.get_user() {
        config.user(user);
    }
    if let Some(dbname) = given.get_dbname() {
        config.dbname(dbname);
    }
    if let Some(options) = given.get_options() {
        config.options(options);
    }
    if let Some(name) = given.get_application_name() {
        config.application_name(name);
    }
    if let Some(timeout) = given.get_connect_timeout() {
        config.connect_timeout(*timeout);
    }
    if let Some(timeout) = given.get_tcp_user_timeout() {
        config.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = given.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = given.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
}

/// TLS that verifies chain and name.
fn tls(config: &Config, endpoint: &Endpoint) -> Result<MakeRustlsConnect, InvalidOptions> {
    // Never the process-wide provider: there is none if the program contains two.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let mut tls = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| InvalidOptions::Driver {
            option: "tls",
            reason: "rustls supports neither TLS 1.2 nor TLS 1.3. Report this as a bug",
        })?
        .with_root_certificates(endpoint.roots.to_store()?)
        .with_no_client_auth();
    if config.get_ssl_negotiation() == SslNegotiation::Direct {
        // PostgreSQL rejects direct TLS without the protocol's name.
        tls.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(MakeRustlsConnect::new(tls))
}

fn is_rejection(error: &tokio_postgres::Error) -> bool {
    let error = error.as_db_error();
    error
        .is_some_and(|error| rejection::is_postgres_rejection(error.code().code(), error.message()))
}

/// Whether TLS failed. The driver has no other sign of a server without TLS than the error's text.
fn is_tls(error: &tokio_postgres::Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};

    use super::*;

    /// Every setting that differs from the default.
    fn all_settings() -> Config {
        let mut config = Config::new();
        config
            .user("app")
            .dbname("shop")
            .options("-c statement_timeout=5s")
            .application_name("web")
            .ssl_mode(SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .connect_timeout(Duration::from_secs(1))
            .tcp_user_timeout(Duration::from_secs(2))
            .keepalives(false)
            .keepalives_idle(Duration::from_secs(3))
            .keepalives_interval(Duration::from_secs(4))
            .keepalives_retries(5)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .channel_binding(ChannelBinding::Disable)
            .load_balance_hosts(LoadBalanceHosts::Random);
        config
    }

    #[test]
    fn all_settings_reach_the_driver() {
        let config = all_settings();
        assert_eq!(for_any_endpoint(&config), config);
    }

    /// A new setting of the driver must be passed on too.
    #[test]
    fn the_driver_has_no_further_settings() {
        let debug = format!("{:#?}", all_settings());
        // Fields of the struct itself.
        let names: Vec<_> = debug
            .lines()
            .filter_map(|line| line.strip_prefix("    "))
            .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names,
            [
                "user",
                "password",
                "dbname",
                "options",
                "application_name",
                "ssl_mode",
                "host",
                "hostaddr",
                "port",
                "connect_timeout",
                "tcp_user_timeout",
                "keepalives",
                "keepalives_idle",
                "keepalives_interval",
                "keepalives_retries",
                "target_session_attrs",
                "channel_binding",
                "load_balance_hosts",
            ]
        );
    }

    #[tokio::test]
    async fn dialled_addresses_keep_the_name_that_tls_verifies() {
        let url = "postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com:6000/shop";
        let options = crate::options(url).unwrap().dial("127.0.0.1:15432");
        let connector = Connector::new(options).unwrap();
        let addresses = connector.addresses().await.unwrap();
        assert_eq!(
            addresses,
            ["127.0.0.1:15432".parse::<SocketAddr>().unwrap()]
        );
        let config = connector.addressed(Config::new(), "127.0.0.1:15432".parse().unwrap(), 1);
        let host = "mydb.abc123xyz.us-east-1.rds.amazonaws.com".to_owned();
        assert_eq!(config.get_hosts(), [Host::Tcp(host)]);
        assert_eq!(
            config.get_hostaddrs(),
            ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );
        assert_eq!(config.get_ports(), [15432]);
    }

    #[test]
    fn addresses_share_the_time_to_connect_unless_it_is_set() {
        let url = "postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/shop";
        let connector = Connector::new(crate::options(url).unwrap()).unwrap();
        let address = "127.0.0.1:5432".parse().unwrap();
        let timeout = |config: Config, count| {
            let config = connector.addressed(config, address, count);
            *config.get_connect_timeout().unwrap()
        };
        assert_eq!(timeout(Config::new(), 1), Duration::from_secs(30));
        assert_eq!(timeout(Config::new(), 3), Duration::from_secs(10));
        let mut given = Config::new();
        given.connect_timeout(Duration::from_secs(5));
        assert_eq!(timeout(given, 3), Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_unresolved_dialled_name_is_an_error_of_the_database() {
        let url = "postgres://app@mydb.abc123xyz.us-east-1.rds.amazonaws.com/shop";
        let options = crate::options(url).unwrap().dial("nowhere.invalid:15432");
        let error = Connector::new(options).unwrap().addresses().await;
        let error = driver_error(error.unwrap_err()).await;
        assert!(error.into_source().unwrap().is::<io::Error>());
    }

    #[tokio::test]
    async fn a_driver_error_keeps_its_cause() {
        let cause = Error::InvalidOptions(InvalidOptions::NoRoots);
        let error = driver_error(io::Error::other(cause)).await;
        assert_eq!(
            ErrorChain(&error).to_string(),
            "error communicating with the server: the URL or the options are invalid: \
             no root certificates were given. Give at least one, or leave the setting out to use the built-in roots"
        );
    }
}
