//! A pool at MySQL or MariaDB: `sqlx_mysql mysql://USER@HOST/DATABASE`

use rds_iam_sqlx::mysql;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: sqlx_mysql URL")?;
    let pool: sqlx::MySqlPool = mysql::connect(&url).await?;

    let user = sqlx::query_scalar("SELECT CURRENT_USER()");
    let user: String = user.fetch_one(&pool).await?;
    let (user, _hosts) = user.rsplit_once('@').unwrap_or((&user, ""));
    let tls = sqlx::query_as("SHOW SESSION STATUS LIKE 'Ssl_version'");
    let (_, tls): (String, String) = tls.fetch_one(&pool).await?;
    println!("logged in as {user} over {tls}");

    pool.close().await;
    Ok(())
}
