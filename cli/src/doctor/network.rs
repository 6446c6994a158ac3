//! The way to the database: its address, its protocol, and its certificate. No token is sent here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rds_iam_connector::{Endpoint, Protocol};
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::input::Input;
use super::login::{MAX_ANSWER_LEN, mysql_remedy};
use super::one_line;
use super::report::{Check, Finding};
use super::secrets::shortened;

/// For each step.
const LIMIT: Duration = Duration::from_secs(3);

pub const CHECKS: [&str; 4] = ["dns", "tcp", "server", "tls"];

/// Goes on until a step is wrong. The server is verified if no step is wrong.
pub async fn examine(input: &Input, checks: &mut Vec<Check>) -> Option<()> {
    let addresses = push_step(checks, "dns", look_up(&input.endpoint).await)?;
    let mut stream = push_step(checks, "tcp", connect(&addresses).await)?;
    let offer = match input.protocol {
        Protocol::Postgres => postgres_offer(&mut stream).await,
        Protocol::MySql => mysql_offer(&mut stream).await,
    };
    push_step(checks, "server", offer.map(|text| ((), text)))?;
    let verified = verify(input, stream).await;
    push_step(checks, "tls", verified.map(|text| ((), text)))
}

/// Writes the check of a step. Returns what the next step needs.
fn push_step<T>(
    checks: &mut Vec<Check>,
    name: &'static str,
    step: Result<(T, String), Finding>,
) -> Option<T> {
    let (check, result) = match step {
        Ok((value, text)) => (Check::ok(name, text), Some(value)),
        Err(finding) => (Check::wrong(name, finding), None),
    };
    checks.push(check);
    result
}

async fn within<T>(limit: Duration, action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(limit, action).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("no answer for {:.1} s", limit.as_secs_f32());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

pub async fn look_up(endpoint: &Endpoint) -> Result<(Vec<SocketAddr>, String), Finding> {
    let address = endpoint.address();
    let found = within(
        LIMIT,
        tokio::net::lookup_host((&*address.host, address.port)),
    )
    .await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| {
            Finding::new(
                format!("the name {} cannot be looked up ({error})", address.host),
                "correct the host, or use the DNS of the database's network",
            )
        })?
        .collect();
    let shown: Vec<String> = found
        .iter()
        .map(|address| address.ip().to_string())
        .collect();
    let text = match address.host.parse::<IpAddr>() {
        Ok(address) => format!("{address} is an address"),
        Err(_) => format!("{} resolves to {}", address.host, shown.join(", ")),
    };
    Ok((found, text))
}

/// Tries the addresses in turn, with an equal time for each.
pub async fn connect(addresses: &[SocketAddr]) -> Result<(TcpStream, String), Finding> {
    let limit = LIMIT / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut last_error = io::Error::other("the name has no address");
    for address in addresses {
        match within(limit, TcpStream::connect(address)).await {
            Ok(stream) => return Ok((stream, format!("connected to {address}"))),
            Err(error) => last_error = error,
        }
    }
    let remedy = match last_error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "correct the port, and start the database or the tunnel"
        }
        _ => "open the database's security group for this machine, or use a tunnel and --dial",
    };
    let problem = format!("no TCP connection to the database ({last_error})");
    Err(Finding::new(problem, remedy))
}

/// Asks a PostgreSQL server for TLS ([protocol, section
/// SSLRequest](https://www.postgresql.org/docs/current/protocol-message-formats.html)).
async fn postgres_offer(stream: &mut TcpStream) -> Result<String, Finding> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let answer = within(LIMIT, async {
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    });
    match answer.await {
        Ok(b'S') => Ok("PostgreSQL, offers TLS".to_owned()),
        Ok(b'N') => Err(without_tls()),
        Ok(b'E') => Err(postgres_error(stream).await),
        // The length of MySQL's greeting, for example.
        Ok(_) => Err(Finding::new(
            "the server does not speak the protocol of PostgreSQL",
            "correct the URL's scheme or its port",
        )),
        Err(error) => Err(silent("PostgreSQL", &error)),
    }
}

/// Reads an error that comes before TLS: its length, and fields that end with a zero. The field `M` is the message
/// ([protocol, *Error and Notice Message Fields*](https://www.postgresql.org/docs/current/protocol-error-fields.html)).
async fn postgres_error(stream: &mut TcpStream) -> Finding {
    const MAX_LEN: u64 = 2000;
    let mut fields = Vec::new();
    let mut answer = stream.take(MAX_LEN);
    // What comes within the limit may have the message.
    let _ = within(LIMIT, answer.read_to_end(&mut fields)).await;
    // A server that cannot start a process answers with a text, without a length and fields.
    let fields = match &*fields {
        [0, _, _, _, fields @ ..] => fields,
        text => text,
    };
    let mut parts = fields.split(|byte| *byte == 0);
    let text = parts.clone().next().unwrap_or_default();
    let message = parts.find_map(|field| field.strip_prefix(b"M"));
    rejected_connection(message.unwrap_or(text), "read the server's answer")
}

fn rejected_connection(text: &[u8], remedy: &str) -> Finding {
    let text = shortened(&String::from_utf8_lossy(text), MAX_ANSWER_LEN);
    Finding::new(
        format!("the server rejects the connection ({text})"),
        remedy,
    )
}

fn without_tls() -> Finding {
    Finding::new(
        "the server offers no TLS, and a token is sent over TLS only",
        "correct the host, the port or --dial, because RDS always offers TLS",
    )
}

fn silent(database: &str, error: &io::Error) -> Finding {
    Finding::new(
        format!("the server does not answer as {database} does ({error})"),
        "correct the URL's scheme and its port, and look at what listens there",
    )
}

/// Reads the greeting of a MySQL server, and asks for TLS ([protocol, *Connection
/// Phase*](https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html)).
async fn mysql_offer(stream: &mut TcpStream) -> Result<String, Finding> {
    const CLIENT_SSL: u16 = 1 << 11;
    // CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH
    const CAPABILITIES: [u8; 4] = [0x00, 0x8a, 0x08, 0x00];
    let greeting = within(LIMIT, async {
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        let [low, middle, high, _] = header;
        let mut greeting =
            vec![0; usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16];
        stream.read_exact(&mut greeting).await?;
        Ok(greeting)
    });
    let greeting = greeting.await.map_err(|error| silent("MySQL", &error))?;
    let not_mysql = || {
        Finding::new(
            "the server does not speak the protocol of MySQL",
            "correct the URL's scheme or its port",
        )
    };
    let rest = match greeting.split_first() {
        Some((10, rest)) => rest,
        // An error: its number, and a text.
        Some((0xff, [low, high, text @ ..])) => {
            let remedy = mysql_remedy(u16::from_le_bytes([*low, *high]));
            return Err(rejected_connection(text, remedy));
        }
        _ => return Err(not_mysql()),
    };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (Some(version), Some(rest)) = (parts.next(), parts.next()) else {
        return Err(not_mysql());
    };
    // After the thread's number, 8 bytes of a nonce, and a zero.
    let Some([low, high]) = rest.get(13..15) else {
        return Err(not_mysql());
    };
    if u16::from_le_bytes([*low, *high]) & CLIENT_SSL == 0 {
        return Err(without_tls());
    }
    let mut ssl_request = vec![32, 0, 0, 1];
    ssl_request.extend(CAPABILITIES);
    ssl_request.extend([0, 0, 0, 1, 45]);
    ssl_request.extend([0; 23]);
    let sent = within(LIMIT, stream.write_all(&ssl_request)).await;
    sent.map_err(|error| silent("MySQL", &error))?;
    let version = String::from_utf8_lossy(version);
    let version: String = version.chars().take(60).collect();
    Ok(format!("MySQL's protocol, version {version}, offers TLS"))
}

async fn verify(input: &Input, stream: TcpStream) -> Result<String, Finding> {
    let endpoint = &input.endpoint;
    let name = endpoint.server_name().to_owned();
    let server_name = ServerName::try_from(name.clone()).map_err(|_| {
        Finding::new(
            format!("{name} cannot be in a certificate"),
            "write the database's endpoint into the URL",
        )
    })?;
    let connecting =
        TlsConnector::from(Arc::new(tls_config(endpoint)?)).connect(server_name, stream);
    match within(LIMIT, connecting).await {
        Ok(stream) => {
            let (_, connection) = stream.get_ref();
            let leaf = connection.peer_certificates().and_then(<[_]>::first);
            let expiry = leaf
                .and_then(|leaf| Certificate::from_der(leaf).ok())
                .map(|leaf| format!(" until {}", leaf.tbs_certificate.validity.not_after))
                .unwrap_or_default();
            let roots = match input.has_given_roots {
                true => "the given roots",
                false => "the built-in roots",
            };
            Ok(format!(
                "the certificate is for {name}, valid{expiry}, under {roots}"
            ))
        }
        Err(error) => Err(tls_finding(&error, &name, input)),
    }
}

/// The settings of a client that verifies the server.
pub fn tls_config(endpoint: &Endpoint) -> Result<ClientConfig, Finding> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = endpoint
        .roots
        .to_store()
        .map_err(|error| Finding::of_error(&error))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Finding::of_error(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn tls_finding(error: &io::Error, name: &str, input: &Input) -> Finding {
    let tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = tls else {
        return Finding::new(
            format!("the TLS handshake failed ({})", one_line(error)),
            "look at what listens there: a proxy that ends TLS, or another server",
        );
    };
    match certificate {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Finding::new(
                format!("the server's certificate is not for {name} ({certificate})"),
                "write the database's own endpoint into the URL, and give --dial for a tunnel",
            )
        }
        CertificateError::UnknownIssuer => {
            let remedy = match input.endpoint.roots.missing_region() {
                _ if input.has_given_roots => {
                    "correct the given file of root certificates, or leave it out to use the built-in roots"
                        .to_owned()
                }
                Some(region) => format!(
                    "download AWS's bundle for {region}, whose roots are not built in, and give --ca FILE"
                ),
                None => "look at what listens there, because the certificate is not Amazon's, or give --ca FILE".to_owned(),
            };
            Finding::new("the server's certificate has an unknown root", remedy)
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Finding::new(
            format!("the server's certificate has expired ({certificate})"),
            "correct this machine's clock, or renew the database's certificate",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Finding::new(
                format!("the server's certificate is not valid yet ({certificate})"),
                "correct this machine's clock",
            )
        }
        _ => Finding::new(
            format!("the server's certificate cannot be verified ({certificate})"),
            "look at what listens there",
        ),
    }
}
