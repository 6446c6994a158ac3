//! What must not be in the output, whoever echoes it.

use std::env;

use rds_iam::Credentials;

/// Variables with a secret. A password is not among them, because it may be a word that the output needs.
const VARIABLES: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

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
        let words = text.split(' ').map(|word| match has_secret(word) {
            true => "…",
            false => word,
        });
        let text = words.collect::<Vec<_>>().join(" ");
        shortened(&text, MAX_LEN).replace(char::is_control, "\u{fffd}")
    }
}

/// Whether a word has a part of a token, or is a URL with a password.
fn has_secret(word: &str) -> bool {
    let url = word.split_once("://");
    let user = url.and_then(|(_, rest)| rest.split_once('@'));
    word.contains(TOKEN_MARK) || user.is_some_and(|(user, _)| user.contains(':'))
}

/// Returns the first `len` characters.
pub fn shortened(text: &str, len: usize) -> String {
    match text.char_indices().nth(len) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
