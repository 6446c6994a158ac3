//! A pool at PostgreSQL: `sqlx_postgres postgres://USER@HOST/DATABASE`

use rds_iam_sqlx::postgres;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: sqlx_postgres URL")?;
    let pool: sqlx::PgPool = postgres::connect(&url).await?;

    const SESSION: &str = "SELECT current_user::text, version \
         FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let (user, tls): (String, String) = sqlx::query_as(SESSION).fetch_one(&pool).await?;
    println!("logged in as {user} over {tls}");

    pool.close().await;
    Ok(())
}
