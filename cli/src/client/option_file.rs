//! The option file of MySQL's and MariaDB's clients.

use rds_iam::Token;
use rds_iam_connector::server_name;

use crate::target::Target;

/// Who made the clients. The clients of each vendor reject the TLS options of the other vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    MariaDb,
    MySql,
}

/// MariaDB's clients cut a line after 4094 bytes, and print the rest of the token in an error.
const MAX_TOKEN_LEN: usize = 4000;

/// Whether the clients can only read a token from the variable `MYSQL_PWD`.
pub fn is_too_long(token: &Token) -> bool {
    token.as_str().len() > MAX_TOKEN_LEN
}

/// Returns the contents of the file.
///
/// No option that TLS depends on has the prefix `loose-`, so a client that does not know the option reports an error.
pub fn contents(target: &Target, token: &Token, roots: &str, vendor: Vendor) -> String {
    let login = &target.login;
    let mut lines = vec![
        "[client]".to_owned(),
        option("host", server_name(login)),
        option("port", &login.port().to_string()),
        // Without a protocol, the clients connect to a local socket if the host is `localhost`.
        option("protocol", "TCP"),
        option("user", login.user()),
        option("ssl-ca", roots),
    ];
    match vendor {
        Vendor::MariaDb => lines.push("ssl-verify-server-cert".to_owned()),
        Vendor::MySql => lines.extend([
            option("ssl-mode", "VERIFY_IDENTITY"),
            // RDS asks for the token itself, inside verified TLS.
            "enable-cleartext-plugin".to_owned(),
        ]),
    }
    if !is_too_long(token) {
        lines.push(option("password", token.as_str()));
    }
    // Clients that send no text do not know the option for the character set.
    let mut is_charset_given = false;
    for (name, value) in &target.parameters {
        is_charset_given |= name == "charset";
        lines.push(match &**name {
            "charset" => option("loose-default-character-set", value),
            // `ssl-cert` and `ssl-key` are the clients' own names.
            name => option(name, value),
        });
    }
    let is_ascii = login.user().is_ascii() && target.database.as_deref().is_none_or(str::is_ascii);
    if !is_ascii && !is_charset_given {
        // The names are UTF-8 here, whatever the locale is.
        lines.push(option("loose-default-character-set", "utf8mb4"));
    }
    if let Some(database) = &target.database {
        lines.extend(["[mysql]".to_owned(), option("database", database)]);
    }
    lines.join("\n") + "\n"
}

/// An option's line. The values have no control characters.
fn option(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', r#"\""#);
    format!("{name}=\"{escaped}\"")
}
