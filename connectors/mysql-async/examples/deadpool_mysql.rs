//! A pool of mysql_async's connections, by deadpool: `deadpool_mysql URL`

use anyhow::Context;
use rds_iam_mysql_async::mysql_async::prelude::Queryable;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1);
    let url = url.context("usage: deadpool_mysql URL")?;
    let pool = rds_iam_mysql_async::deadpool::connect(&url).await?;
    let mut connection = pool.get().await?;

    let user: Option<String> = connection.query_first("SELECT CURRENT_USER()").await?;
    let user = user.context("no user")?;
    let (user, _hosts) = user.rsplit_once('@').context("no hosts")?;
    let tls: Option<(String, String)> = connection
        .query_first("SHOW SESSION STATUS LIKE 'Ssl_version'")
        .await?;
    let (_name, tls) = tls.context("no TLS")?;
    println!("logged in as {user} over {tls}");
    Ok(())
}
