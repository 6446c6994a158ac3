//! A pool of deadpool-postgres: `deadpool_postgres URL`

use anyhow::Context;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args()
        .nth(1)
        .context("usage: deadpool_postgres URL")?;
    let pool = rds_iam_tokio_postgres::deadpool::connect(&url).await?;
    let client = pool.get().await?;
    let row = client.query_one(SESSION, &[]).await?;
    let (user, tls): (&str, &str) = (row.try_get("user")?, row.try_get("tls")?);
    println!("logged in as {user} over {tls}");
    Ok(())
}

const SESSION: &str = "SELECT current_user::text AS user, version AS tls \
    FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
