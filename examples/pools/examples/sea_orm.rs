//! SeaORM over the pool of a connector: `sea_orm postgres://USER@HOST/DATABASE`

use anyhow::Context;
use sea_orm::{ConnectionTrait, DbBackend, SqlxPostgresConnector, Statement};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).context("usage: sea_orm URL")?;
    let pool = rds_iam_sqlx::postgres::connect(&url).await?;
    let database = SqlxPostgresConnector::from_sqlx_postgres_pool(pool);

    let query = Statement::from_string(DbBackend::Postgres, "SELECT current_user::text AS name");
    let row = database.query_one_raw(query).await?.context("no row")?;
    println!("logged in as {}", row.try_get::<String>("", "name")?);

    // Closes the pool.
    database.close().await?;
    Ok(())
}
