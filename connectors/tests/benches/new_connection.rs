//! How long a new connection takes with a connector, and with the same driver, TLS and server but a fixed password.
//!
//! The two take turns in one run, at the servers of `tests/rds`: `connectors/tests/benches/run`

#[path = "../../../tests/servers/mod.rs"]
mod servers;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Manager as _};
use mysql_async::{Conn, OptsBuilder, SslOpts};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rds_iam::{Credentials, Login, TokenCache};
use rds_iam_sqlx::{mysql, postgres};
use rds_iam_tokio_postgres as pg;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use servers::{Engine, Servers};
use sqlx::Connection as _;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

const PAIRS: usize = 200;
const WARM_UP: usize = 10;

struct Database {
    url: String,
    login: Login,
    cache: TokenCache,
    /// The password of the driver alone.
    token: String,
    roots: Vec<CertificateDer<'static>>,
    name: String,
}

impl Database {
    async fn of(engine: Engine) -> Database {
        let servers = Servers::running();
        let key = servers.key("long-term");
        let credentials = Credentials::new(
            key.access_key_id,
            key.secret_access_key,
            key.session_token,
            None,
            "bench",
        );
        let cache = TokenCache::builder(credentials).build().unwrap();
        let (host, port, ca) = (servers.host(), servers.port(engine), servers.ca());
        let user = "pool_12";
        let login = Login::new(host, port, user).unwrap();
        let token = cache.token(&login).await.unwrap().as_str().to_owned();
        let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
        let (scheme, root_file) = match engine {
            Engine::Postgres => ("postgres", "sslrootcert"),
            Engine::MariaDb => ("mysql", "ssl-ca"),
        };
        let name = servers.database();
        Database {
            url: format!("{scheme}://{user}@{host}:{port}/{name}?{root_file}={ca}"),
            roots: CertificateDer::pem_file_iter(ca)
                .and_then(Iterator::collect)
                .unwrap(),
            name: name.to_owned(),
            login,
            cache,
            token,
        }
    }

    fn tls(&self) -> MakeRustlsConnect {
        let mut roots = rustls::RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        MakeRustlsConnect::new(config)
    }

    fn config(&self) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            .host(self.login.host())
            .port(self.login.port())
            .user(self.login.user())
            .password(&self.token)
            .dbname(&self.name)
            .ssl_mode(SslMode::Require);
        config
    }
}

/// Times both in turn, and prints the median of each and the median of the differences.
async fn compare(name: &str, connector: impl AsyncFn(), driver: impl AsyncFn()) {
    let mut pairs = Vec::new();
    for round in 0..WARM_UP + PAIRS {
        #[expect(clippy::disallowed_methods, reason = "a bench times")]
        let time = async |connect: &dyn AsyncConnect| {
            let start = Instant::now();
            connect.call().await;
            start.elapsed()
        };
        // Whoever goes first may find the machine in another state.
        let pair = if round % 2 == 0 {
            let connector = time(&connector).await;
            (connector, time(&driver).await)
        } else {
            let driver = time(&driver).await;
            (time(&connector).await, driver)
        };
        if round >= WARM_UP {
            pairs.push(pair);
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let milliseconds = |time: &Duration| time.as_secs_f64() * 1e3;
    let connector = median(pairs.iter().map(|(it, _)| milliseconds(it)).collect());
    let driver = median(pairs.iter().map(|(_, it)| milliseconds(it)).collect());
    let difference = median(
        pairs
            .iter()
            .map(|(connector, driver)| milliseconds(connector) - milliseconds(driver))
            .collect(),
    );
    println!(
        "{name:18} connector {connector:6.2} ms  driver {driver:6.2} ms  difference {difference:+6.3} ms ({:+.2} %)",
        100.0 * difference / driver
    );
}

/// An `AsyncFn()` behind a reference.
trait AsyncConnect {
    fn call(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl<F: AsyncFn()> AsyncConnect for F {
    fn call(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(self())
    }
}

async fn at_postgres() {
    let database = Database::of(Engine::Postgres).await;
    let options = || {
        pg::options(&database.url)
            .unwrap()
            .cache(database.cache.clone())
    };
    let (config, tls) = (database.config(), database.tls());

    let pem = rds_roots::to_pem(&database.roots);
    let fixed = sqlx::postgres::PgConnectOptions::new_without_pgpass()
        .host(database.login.host())
        .port(database.login.port())
        .username(database.login.user())
        .password(&database.token)
        .database(&database.name)
        .ssl_mode(sqlx::postgres::PgSslMode::VerifyFull)
        .ssl_root_cert_from_pem(pem.into_bytes());
    let connected = postgres::options(&database.url).unwrap();
    let connected = connected.cache(database.cache.clone());
    let pool = postgres::connect_with(connected, PgPoolOptions::new())
        .await
        .unwrap();
    let plain = PgPoolOptions::new().connect_lazy_with(fixed);
    pool.acquire()
        .await
        .unwrap()
        .detach()
        .close()
        .await
        .unwrap();
    let new_connection = async |pool: &sqlx::PgPool| {
        let connection = pool.acquire().await.unwrap().detach();
        connection.close().await.unwrap();
    };
    compare(
        "sqlx, PostgreSQL",
        async || new_connection(&pool).await,
        async || new_connection(&plain).await,
    )
    .await;
    pool.close().await;

    let manager = pg::deadpool::manager(options()).unwrap();
    let plain = deadpool_postgres::Manager::new(config.clone(), tls.clone());
    compare(
        "deadpool-postgres",
        async || drop(manager.create().await.unwrap()),
        async || drop(plain.create().await.unwrap()),
    )
    .await;

    use bb8::ManageConnection as _;
    let manager = pg::bb8::manager(options()).unwrap();
    let connect = async || {
        let (client, connection) = config.connect(tls.clone()).await.unwrap();
        tokio::spawn(connection);
        drop(client);
    };
    compare(
        "bb8",
        async || drop(manager.connect().await.unwrap()),
        &connect,
    )
    .await;

    // A client of its own makes its TLS configuration each time.
    let client_options = options();
    let connect = async || {
        let (client, connection) = config.connect(database.tls()).await.unwrap();
        tokio::spawn(connection);
        drop(client);
    };
    compare(
        "tokio-postgres",
        async || drop(pg::connect_with(client_options.clone()).await.unwrap()),
        &connect,
    )
    .await;
}

async fn at_mysql() {
    let database = Database::of(Engine::MariaDb).await;
    let pem = rds_roots::to_pem(&database.roots);
    let fixed = sqlx::mysql::MySqlConnectOptions::new()
        .host(database.login.host())
        .port(database.login.port())
        .username(database.login.user())
        .password(&database.token)
        .database(&database.name)
        .enable_cleartext_plugin(true)
        .ssl_mode(sqlx::mysql::MySqlSslMode::VerifyIdentity)
        .ssl_ca_from_pem(pem.into_bytes());
    let connected = mysql::options(&database.url).unwrap();
    let connected = connected.cache(database.cache.clone());
    let pool = mysql::connect_with(connected, MySqlPoolOptions::new())
        .await
        .unwrap();
    let plain = MySqlPoolOptions::new().connect_lazy_with(fixed);
    pool.acquire()
        .await
        .unwrap()
        .detach()
        .close()
        .await
        .unwrap();
    let new_connection = async |pool: &sqlx::MySqlPool| {
        let connection = pool.acquire().await.unwrap().detach();
        connection.close().await.unwrap();
    };
    compare(
        "sqlx, MySQL",
        async || new_connection(&pool).await,
        async || new_connection(&plain).await,
    )
    .await;
    pool.close().await;

    let options = rds_iam_mysql_async::options(&database.url).unwrap();
    let options = options.cache(database.cache.clone());
    let manager = rds_iam_mysql_async::deadpool::manager(options).unwrap();
    let roots = database.roots.iter().map(|root| root.to_vec().into());
    let tls = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots.collect());
    let fixed = OptsBuilder::default()
        .ip_or_hostname(database.login.host())
        .tcp_port(database.login.port())
        .user(Some(database.login.user()))
        .pass(Some(&database.token))
        .db_name(Some(&database.name))
        .enable_cleartext_plugin(true)
        .prefer_socket(false)
        .ssl_opts(tls);
    let fixed = mysql_async::Opts::from(fixed);
    compare(
        "mysql_async",
        async || {
            let connection: Conn = managed::Manager::create(&manager).await.unwrap();
            connection.disconnect().await.unwrap();
        },
        async || {
            let connection = Conn::new(fixed.clone()).await.unwrap();
            connection.disconnect().await.unwrap();
        },
    )
    .await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        at_postgres().await;
        at_mysql().await;
    });
}
