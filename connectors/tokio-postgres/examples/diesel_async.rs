//! A pool of diesel-async: `diesel_async URL`

use anyhow::Context;
use diesel::dsl::sql;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: diesel_async URL")?;
    let pool = rds_iam_tokio_postgres::diesel_async::connect(&url).await?;
    let mut connection = pool.get().await?;
    let session = sql::<(Text, Text)>(SESSION).get_result(&mut connection);
    let (user, tls): (String, String) = session.await?;
    println!("logged in as {user} over {tls}");
    Ok(())
}

const SESSION: &str = "SELECT current_user::text AS user, version AS tls \
    FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
