//! The examples of r2d2, whose `open` the tests use. Their `main` is run as a program.
#![allow(dead_code, reason = "nobody calls `main`")]

#[path = "../../../../examples/pools/examples/r2d2_mysql.rs"]
pub mod r2d2_mysql;
#[path = "../../../../examples/pools/examples/r2d2_postgres.rs"]
pub mod r2d2_postgres;
