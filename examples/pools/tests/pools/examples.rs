//! The examples, whose `open` the tests use. Their `main` is run as a program.
#![allow(dead_code, reason = "nobody calls `main`")]

#[path = "../../examples/deadpool_postgres.rs"]
pub mod deadpool_postgres;
#[path = "../../examples/diesel_async.rs"]
pub mod diesel_async;
#[path = "../../examples/mysql_async.rs"]
pub mod mysql_async;
#[path = "../../examples/r2d2_mysql.rs"]
pub mod r2d2_mysql;
#[path = "../../examples/r2d2_postgres.rs"]
pub mod r2d2_postgres;
#[path = "../../examples/sqlx_mysql.rs"]
pub mod sqlx_mysql;
#[path = "../../examples/sqlx_postgres.rs"]
pub mod sqlx_postgres;
