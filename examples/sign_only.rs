//! Signs with credentials of one's own: no async, no AWS configuration, no default features.
//!
//! `cargo run --no-default-features --example sign_only`

use std::time::SystemTime;

use rds_iam::{Credentials, Error, Login, Signer};

#[expect(
    clippy::disallowed_methods,
    reason = "a program knows the time; the library is told it"
)]
fn main() -> Result<(), Error> {
    let credentials = Credentials::new("access-key-id", "secret-access-key", None, None, "example");
    let login = Login::new("mydb.abc123xyz.us-east-1.rds.amazonaws.com", 5432, "app")?;

    // One signer serves every login of these credentials in this region.
    let signer = Signer::new(&credentials, "us-east-1", SystemTime::now())?;
    let token = signer.sign(&login, SystemTime::now())?;

    println!("{}", token.as_str());
    Ok(())
}
