//! Prints a token: `token [--region REGION] HOST PORT USER`
//!
//! It does what `aws rds generate-db-auth-token` does, with the same credentials.

use std::io::Write;

use anyhow::{anyhow, bail};
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials;
use rds_iam::{Login, Signer, Token};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = std::env::args_os()
        .skip(1)
        .map(|arg| {
            arg.into_string()
                .map_err(|arg| anyhow!("{arg:?} is not UTF-8"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (region, host, port, user) = match args[..] {
        [host, port, user] => (None, host, port, user),
        ["--region", region, host, port, user] => (Some(region), host, port, user),
        _ => bail!("usage: token [--region REGION] HOST PORT USER"),
    };
    let port = port
        .parse()
        .map_err(|_| anyhow!("{port:?} is not a port"))?;
    let token = match region {
        None => rds_iam::token(host, port, user).await?,
        Some(region) => token_in(region, &Login::new(host, port, user)?).await?,
    };
    writeln!(std::io::stdout(), "{}", token.as_str())?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program knows the time; the library is told it"
)]
async fn token_in(region: &str, login: &Login) -> anyhow::Result<Token> {
    let region = Region::new(region.to_owned());
    let config = aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .load()
        .await;
    let credentials = config
        .credentials_provider()
        .ok_or(rds_iam::Error::NoCredentialsProvider)?
        .provide_credentials()
        .await?;
    let now = std::time::SystemTime::now();
    Ok(Signer::new(&credentials, region.as_ref(), now)?.sign(login, now)?)
}
