//! A web service over the pool of a connector: `DATABASE_URL=postgres://USER@HOST/DATABASE axum`
//!
//! `LISTEN` is the address to listen at, `127.0.0.1:3000` by default.

use std::env;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::signal;
use tokio::time::timeout;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = env::var("DATABASE_URL").context("set DATABASE_URL")?;
    let pool = rds_iam_sqlx::postgres::connect(&url).await?;

    let service = Router::new()
        .route("/", get(greet))
        .route("/healthz", get(check_health))
        .with_state(pool.clone());
    let address = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening at http://{}", listener.local_addr()?);
    axum::serve(listener, service)
        .with_graceful_shutdown(wait_for_shutdown())
        .await?;

    // Ends the task that refreshes the pool's token.
    pool.close().await;
    Ok(())
}

async fn greet(State(pool): State<PgPool>) -> Result<String, StatusCode> {
    let user: String = sqlx::query_scalar("SELECT current_user::text")
        .fetch_one(&pool)
        .await
        .map_err(report)?;
    Ok(format!("logged in as {user}\n"))
}

/// Shorter than the timeout of a load balancer's health check.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

async fn check_health(State(pool): State<PgPool>) -> Result<&'static str, StatusCode> {
    let query = sqlx::query("SELECT 1").execute(&pool);
    match timeout(HEALTH_TIMEOUT, query).await {
        Ok(Ok(_)) => Ok("healthy\n"),
        Ok(Err(error)) => Err(report(error)),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Logs an error for the operator. The client only gets a status.
fn report(error: sqlx::Error) -> StatusCode {
    eprintln!("{:#}", anyhow::Error::from(error));
    StatusCode::SERVICE_UNAVAILABLE
}

/// Waits for Ctrl-C, or for SIGTERM, which containers get.
async fn wait_for_shutdown() {
    #[cfg(unix)]
    if let Ok(mut terminate) = signal::unix::signal(signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = signal::ctrl_c() => return,
            _ = terminate.recv() => return,
        }
    }
    let _ = signal::ctrl_c().await;
}
