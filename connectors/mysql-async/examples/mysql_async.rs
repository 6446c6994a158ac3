//! A connection of mysql_async: `mysql_async URL`

use anyhow::Context;
use rds_iam_mysql_async::mysql_async::prelude::Queryable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: mysql_async URL")?;
    let mut connection = rds_iam_mysql_async::connect(&url).await?;

    let user: Option<String> = connection.query_first("SELECT CURRENT_USER()").await?;
    let user = user.context("no user")?;
    let (user, _hosts) = user.rsplit_once('@').context("no hosts")?;
    let tls: Option<(String, String)> = connection
        .query_first("SHOW SESSION STATUS LIKE 'Ssl_version'")
        .await?;
    let (_name, tls) = tls.context("no TLS")?;
    println!("logged in as {user} over {tls}");
    Ok(connection.disconnect().await?)
}
