//! The settings of PostgreSQL's clients. The clients read them from the environment
//! ([libpq](https://www.postgresql.org/docs/current/libpq-envars.html)).

use rds_iam::{Login, Service, Token};
use rds_iam_connector::{UrlParameters, server_name};

use crate::target::Target;

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

/// Inherited variables that would lead libpq to another server, weaken its check of the server, or make every login fail.
pub const UNSET: [&str; 19] = [
    // RDS asks for the token itself, so there is no channel to bind to, and no other method.
    "PGCHANNELBINDING",
    "PGREQUIREAUTH",
    "PGDATABASE",
    "PGHOSTADDR",
    "PGREQUIRESSL",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    // The settings of a service take precedence over the environment.
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLNEGOTIATION",
    // Aurora DSQL needs the host's name in TLS.
    "PGSSLSNI",
    // There is a single host.
    "PGTARGETSESSIONATTRS",
];

/// Returns the variables for a URL and a token.
pub fn variables(target: &Target, token: &Token) -> Vec<(&'static str, String)> {
    let mut variables = login_variables(&target.login, target.database.as_deref(), token);
    for (name, variable) in VARIABLES {
        let mut parameters = target.parameters.iter();
        if let Some((_, value)) = parameters.find(|(parameter, _)| parameter == name) {
            variables.push((variable, value.clone()));
        }
    }
    variables
}

/// Returns the variables for a login and a token. The clients must verify the server's certificate and its name.
pub fn login_variables(
    login: &Login,
    database: Option<&str>,
    token: &Token,
) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PGHOST", server_name(login).to_owned()),
        ("PGPORT", login.port().to_string()),
        ("PGUSER", login.user().to_owned()),
        ("PGPASSWORD", token.as_str().to_owned()),
        ("PGSSLMODE", "verify-full".to_owned()),
        // Encryption by GSSAPI takes precedence over TLS, and verifies no certificate.
        ("PGGSSENCMODE", "disable".to_owned()),
    ];
    if let Some(database) = database.or(default_database(login)) {
        variables.push(("PGDATABASE", database.to_owned()));
    }
    variables
}

/// Returns the database for a URL without a database, if it is not the one with the user's name.
pub fn default_database(login: &Login) -> Option<&'static str> {
    (login.service() == Service::Dsql).then_some(DSQL_DATABASE)
}
