//! Logs in to MySQL or MariaDB with a token: `mysql [--ca FILE] [--dial HOST:PORT] URL`

mod args;

use anyhow::Context;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, SslOpts};
use rds_iam::Login;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = args::Args::parse()?;
    let login = Login::from_url(&args.url)?;
    let token = rds_iam::token(login.host(), login.port(), login.user()).await?;

    let roots = args
        .roots()?
        .into_iter()
        .map(|root| root.to_vec().into())
        .collect();
    let tls = SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots)
        // The certificate must be for the database's own name, also at the end of a tunnel.
        .with_danger_tls_hostname_override(Some(login.host().to_owned()));

    let (host, port) = match &args.dial {
        Some(dial) => dial.rsplit_once(':').context("--dial takes HOST:PORT")?,
        None => (login.host(), &*login.port().to_string()),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(host)
        .tcp_port(port.parse().context("--dial takes HOST:PORT")?)
        .user(Some(login.user()))
        .pass(Some(token.as_str()))
        .db_name(Some(args.database()?).filter(|name| !name.is_empty()))
        // The token goes over the wire as it is, so only with verified TLS, and never by way of a
        // local socket, which the driver does not secure.
        .enable_cleartext_plugin(true)
        .ssl_opts(tls)
        .prefer_socket(false);

    let mut connection = Conn::new(options).await?;
    let user: String = connection
        .query_first("SELECT CURRENT_USER()")
        .await?
        .context("no row")?;
    let (_, version): (String, String) = connection
        .query_first("SHOW SESSION STATUS LIKE 'Ssl_version'")
        .await?
        .context("no row")?;
    let (user, _from_where) = user.rsplit_once('@').context("no host in CURRENT_USER()")?;
    println!("logged in as {user} over {version}");
    connection.disconnect().await?;
    Ok(())
}
