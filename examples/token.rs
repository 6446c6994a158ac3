//! Prints a token: `token [--region REGION] HOST PORT USER`
//!
//! It does what `aws rds generate-db-auth-token` does, with the same credentials. For a cluster of Aurora DSQL it does what
//! `aws dsql generate-db-connect-auth-token` does, or `generate-db-connect-admin-auth-token` for the user `admin`.

use std::io::Write;

use anyhow::{anyhow, bail};
use rds_iam::Login;

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
        Some(region) => {
            let login = Login::new(host, port, user)?.with_region(region)?;
            rds_iam::shared_cache().token(&login).await?
        }
    };
    writeln!(std::io::stdout(), "{}", token.as_str())?;
    Ok(())
}
