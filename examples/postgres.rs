//! Logs in to PostgreSQL with a token: `postgres [--ca FILE] [--dial HOST:PORT] URL`

mod args;

use anyhow::Context;
use rds_iam::Login;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres_rustls::MakeRustlsConnect;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = args::Args::parse()?;
    let login = Login::from_url(&args.url)?;
    let token = rds_iam::token(login.host(), login.port(), login.user()).await?;

    let mut config = tokio_postgres::Config::new();
    config
        .user(login.user())
        .password(token.as_str())
        .dbname(args.database()?)
        // Without this, the driver goes on in plain text when the server says no to TLS, and the token with it.
        .ssl_mode(SslMode::Require);

    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(args.roots()?);
    let tls = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The certificate must be for the database's own name, also at the end of a tunnel.
    let tls = MakeTlsConnect::<TcpStream>::make_tls_connect(
        &mut MakeRustlsConnect::new(tls),
        login.host(),
    )?;

    let dial = args
        .dial
        .unwrap_or_else(|| format!("{}:{}", login.host(), login.port()));
    let stream = TcpStream::connect(&dial)
        .await
        .with_context(|| format!("cannot connect to {dial}"))?;
    let (client, connection) = config.connect_raw(stream, tls).await?;
    let connection = tokio::spawn(connection);

    let row = client
        .query_one(
            "SELECT current_user, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            &[],
        )
        .await?;
    println!(
        "logged in as {} over {}",
        row.get::<_, &str>(0),
        row.get::<_, &str>(1)
    );
    drop(client);
    connection.await??;
    Ok(())
}
