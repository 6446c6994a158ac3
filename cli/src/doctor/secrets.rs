//! What must not be in the output, whoever echoes it.

use std::env;

use rds_iam::Credentials;

/// Variables with a secret.
const VARIABLES: [&str; 4] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "MYSQL_PWD",
    "PGPASSWORD",
];

/// In each token.
const TOKEN_MARK: &str = "X-Amz-";

/// The longest text of a check, in characters. A server's text has no limit of its own.
const MAX_LEN: usize = 1500;

/// No `Debug`, which would show the secrets.
#[derive(Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    pub fn of_environment() -> Secrets {
        let values = VARIABLES.into_iter().filter_map(|name| env::var(name).ok());
        let mut secrets = Secrets::default();
        values.for_each(|value| secrets.add(&value));
        secrets
    }

    pub fn add_credentials(&mut self, credentials: &Credentials) {
        self.add(credentials.secret_access_key());
        self.add(credentials.session_token().unwrap_or_default());
    }

    fn add(&mut self, secret: &str) {
        if !secret.is_empty() {
            self.0.push(secret.to_owned());
        }
    }

    /// Returns a text without secrets, tokens and control characters, on which a terminal would act.
    pub fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret, "…");
        }
        if text.contains(TOKEN_MARK) {
            let words = text.split(' ');
            let words = words.map(|word| {
                if word.contains(TOKEN_MARK) {
                    "…"
                } else {
                    word
                }
            });
            text = words.collect::<Vec<_>>().join(" ");
        }
        shortened(&text, MAX_LEN).replace(char::is_control, "\u{fffd}")
    }
}

/// Returns the first `len` characters.
pub fn shortened(text: &str, len: usize) -> String {
    match text.char_indices().nth(len) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
