//! A stand-in, on the loopback, for a PostgreSQL server with TLS that answers a login as told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the server sends instead of accepting a login.
#[derive(Clone)]
pub enum Answer {
    /// An error: SQLSTATE, message, and hint if there is one.
    Error(&'static str, &'static str, &'static str),
    /// An error that shows the password.
    Echo,
    /// Nothing. The connection stays open.
    Silence,
}

pub struct Postgres {
    /// `HOST:PORT`
    pub address: String,
    /// The server's root certificate in PEM.
    pub ca: String,
}

impl Postgres {
    /// Starts a server with a certificate for `host`. It ends with this process.
    pub fn start(host: &str, answer: Answer) -> Postgres {
        Postgres::start_with_certificate(host, answer, 2020, 2099)
    }

    /// Starts a server whose certificate is valid from one new year to another.
    pub fn start_with_certificate(host: &str, answer: Answer, from: i32, until: i32) -> Postgres {
        let signing_key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let cert = params.self_signed(&signing_key).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(key))
            .expect("a certificate with its key");
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, answer) = (Arc::clone(&config), answer.clone());
                // A client may leave at any time.
                thread::spawn(move || serve(stream.expect("a connection"), config, &answer).ok());
            }
        });
        Postgres {
            address,
            ca: cert.pem(),
        }
    }
}

fn serve(mut stream: TcpStream, config: Arc<ServerConfig>, answer: &Answer) -> std::io::Result<()> {
    let mut ssl_request = [0; 8];
    stream.read_exact(&mut ssl_request)?;
    stream.write_all(b"S")?;
    let connection = ServerConnection::new(config).expect("a valid configuration");
    let mut tls = StreamOwned::new(connection, stream);
    // The startup message, with its length.
    let mut len = [0; 4];
    tls.read_exact(&mut len)?;
    let mut startup = vec![0; u32::from_be_bytes(len) as usize - len.len()];
    tls.read_exact(&mut startup)?;
    match *answer {
        Answer::Error(sqlstate, message, hint) => write_error(&mut tls, sqlstate, message, hint)?,
        Answer::Echo => {
            // AuthenticationCleartextPassword
            tls.write_all(b"R\0\0\0\x08\0\0\0\x03")?;
            let mut head = [0; 5];
            tls.read_exact(&mut head)?;
            let [_, len @ ..] = head;
            let mut password = vec![0; u32::from_be_bytes(len) as usize - len.len()];
            tls.read_exact(&mut password)?;
            let password = String::from_utf8_lossy(&password);
            let message = format!("wrong password: {}", password.trim_end_matches('\0'));
            write_error(&mut tls, "28000", &message, "")?;
        }
        Answer::Silence => {}
    }
    tls.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn write_error(
    tls: &mut StreamOwned<ServerConnection, TcpStream>,
    sqlstate: &str,
    message: &str,
    hint: &str,
) -> std::io::Result<()> {
    let mut fields = Vec::new();
    for (kind, text) in [('S', "FATAL"), ('C', sqlstate), ('M', message), ('H', hint)] {
        if !text.is_empty() {
            fields.extend(format!("{kind}{text}\0").bytes());
        }
    }
    fields.push(0);
    let len = u32::try_from(fields.len() + 4).expect("a short error");
    tls.write_all(b"E")?;
    tls.write_all(&len.to_be_bytes())?;
    tls.write_all(&fields)?;
    tls.conn.send_close_notify();
    tls.flush()
}
