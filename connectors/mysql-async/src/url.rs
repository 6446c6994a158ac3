use mysql_async::{Opts, UrlError};
use rds_iam_connector::{InvalidOptions, UrlParameters, UrlParts};

const PARAMETERS: UrlParameters = UrlParameters::mysql(&[
    "client_found_rows",
    "compression",
    "max_allowed_packet",
    "stmt_cache_size",
    "tcp_keepalive",
    "tcp_nodelay",
    "wait_timeout",
    // Only with some values, or not at all: `check_parameter`.
    "abs_conn_ttl",
    "abs_conn_ttl_jitter",
    "built_in_roots",
    "conn_ttl",
    "enable_cleartext_plugin",
    "inactive_connection_ttl",
    "pool_max",
    "pool_min",
    "prefer_socket",
    "require_ssl",
    "reset_connection",
    "secure_auth",
    "ttl_check_interval",
    "verify_ca",
    "verify_identity",
]);

/// Reads a connection URL.
pub(crate) fn read(given: &str) -> Result<(Opts, UrlParts), InvalidOptions> {
    let parts = PARAMETERS.read(given)?;
    for (name, value) in parts.url.query_pairs() {
        check_parameter(&name, &value)?;
    }
    // The driver would ignore all segments after the first.
    if parts
        .url
        .path_segments()
        .is_some_and(|path| path.count() > 1)
    {
        return Err(InvalidOptions::Url {
            reason: "its path has more than the database's name. Write `%2F` for a `/` in the name",
        });
    }
    let mut url = parts.url.clone();
    // The driver knows no other scheme. The change cannot fail, because neither scheme is one of the web's.
    let _ = url.set_scheme("mysql");
    let opts = Opts::from_url(url.as_str()).map_err(|error| match error {
        // The driver's own error shows the value.
        UrlError::InvalidParamValue { param, .. } => InvalidOptions::Parameter {
            name: param,
            reason: "the driver cannot read its value",
        },
        error => InvalidOptions::DriverUrl {
            source: error.into(),
        },
    })?;
    Ok((opts, parts))
}

fn check_parameter(name: &str, value: &str) -> Result<(), InvalidOptions> {
    let reason = match (name, value) {
        ("require_ssl" | "verify_ca" | "verify_identity", "true") => return Ok(()),
        ("require_ssl" | "verify_ca" | "verify_identity", _) => {
            return Err(InvalidOptions::TlsMode {
                name: name.to_owned(),
                verified: "true",
            });
        }
        ("enable_cleartext_plugin" | "secure_auth", "true") | ("prefer_socket", "false") => {
            return Ok(());
        }
        ("enable_cleartext_plugin", _) => {
            "RDS asks for the token itself, inside verified TLS. Remove the parameter"
        }
        ("secure_auth", _) => {
            "only `true` rules out the password hash of MySQL 4.0. Remove the parameter"
        }
        ("prefer_socket", _) => {
            "RDS has no local socket, and a socket has no TLS. Remove the parameter"
        }
        ("built_in_roots", _) => {
            "Mozilla's list of authorities is never trusted. Remove the parameter, and use `ssl-ca` to trust other roots"
        }
        (
            "abs_conn_ttl"
            | "abs_conn_ttl_jitter"
            | "conn_ttl"
            | "inactive_connection_ttl"
            | "pool_max"
            | "pool_min"
            | "reset_connection"
            | "ttl_check_interval",
            _,
        ) => crate::OWN_POOL,
        _ => return Ok(()),
    };
    Err(InvalidOptions::Parameter {
        name: name.to_owned(),
        reason,
    })
}
