//! The settings of PostgreSQL's clients. The clients read them from the environment
//! ([libpq](https://www.postgresql.org/docs/current/libpq-envars.html)).

use rds_iam::{Login, Service, Token};
use rds_iam_connector::UrlParameters;

use crate::target::{Target, server_name};

/// The parameters of a URL, except the database, and their variables.
const VARIABLES: [(&str, &str); 9] = [
    ("application_name", "PGAPPNAME"),
    ("client_encoding", "PGCLIENTENCODING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("options", "PGOPTIONS"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("sslcert", "PGSSLCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslkey", "PGSSLKEY"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// The parameter that names the database.
pub const DBNAME: &str = "dbname";

/// The only database of a cluster of Aurora DSQL.
const DSQL_DATABASE: &str = "postgres";

/// The parameters of PostgreSQL's URLs that the clients can honour.
pub const PARAMETERS: UrlParameters = UrlParameters::postgres(&PARAMETER_NAMES);

const PARAMETER_NAMES: [&str; VARIABLES.len() + 1] = {
    let mut names = [DBNAME; VARIABLES.len() + 1];
    let mut i = 0;
    while i < VARIABLES.len() {
        names[i] = VARIABLES[i].0;
        i += 1;
    }
    names
};

/// Returns the variables for a URL and a token.
pub fn variables(target: &Target, token: &Token) -> Vec<(&'static str, String)> {
    let mut variables = login_variables(&target.login, token);
    if let Some(database) = &target.database {
        variables.retain(|(name, _)| *name != "PGDATABASE");
        variables.push(("PGDATABASE", database.clone()));
    }
    for (name, variable) in VARIABLES {
        let mut parameters = target.parameters.iter();
        if let Some((_, value)) = parameters.find(|(parameter, _)| parameter == name) {
            variables.push((variable, value.clone()));
        }
    }
    variables
}

/// Returns the variables for a login and a token. The clients must verify the server's certificate and its name.
pub fn login_variables(login: &Login, token: &Token) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PGHOST", server_name(login).to_owned()),
        ("PGPORT", login.port().to_string()),
        ("PGUSER", login.user().to_owned()),
        ("PGPASSWORD", token.as_str().to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        // Encryption by GSSAPI takes precedence over TLS, and verifies no certificate.
        ("PGGSSENCMODE", "disable".to_owned()),
    ];
    if login.service() == Service::Dsql {
        variables.push(("PGDATABASE", DSQL_DATABASE.to_owned()));
    }
    variables
}
