//! Connections that log in with a password, over verified TLS. The connectors log in with tokens only.

use anyhow::Context as _;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::input::Input;
use super::network;
use super::report::Finding;

/// The connection ends when the client is dropped.
pub async fn postgres(user: &str, password: &str, input: &Input) -> anyhow::Result<Client> {
    let endpoint = &input.endpoint;
    let (addresses, _) = network::look_up(endpoint).await.map_err(as_error)?;
    let (stream, _) = network::connect(&addresses).await.map_err(as_error)?;
    let mut tls = MakeRustlsConnect::new(network::tls_config(endpoint).map_err(as_error)?);
    let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls, endpoint.server_name())?;
    let (client, connection) = Config::new()
        .user(user)
        .password(password)
        .dbname("postgres")
        .ssl_mode(SslMode::Require)
        .connect_raw(stream, tls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The settings for a user of MySQL or MariaDB, without a password.
pub fn mysql_options(user: &str, input: &Input) -> OptsBuilder {
    let endpoint = &input.endpoint;
    let roots = endpoint.roots.certs();
    let tls = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots.iter().map(|root| root.to_vec().into()).collect())
        // The name to verify, whatever is dialled.
        .with_danger_tls_hostname_override(Some(endpoint.server_name().to_owned()));
    let address = endpoint.address();
    OptsBuilder::default()
        .ip_or_hostname(address.host)
        .tcp_port(address.port)
        .user(Some(user))
        .ssl_opts(tls)
        .prefer_socket(false)
}

/// Without this, the server logs a broken connection.
pub async fn close(connection: Conn) -> anyhow::Result<()> {
    connection
        .disconnect()
        .await
        .context("the connection broke")
}

fn as_error(finding: Finding) -> anyhow::Error {
    anyhow::Error::msg(finding.problem)
}
