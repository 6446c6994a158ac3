//! Stand-ins, on the loopback, for the services that hand out AWS credentials: EC2's instance metadata, a container's
//! credentials endpoint, STS. Each stand-in demands what the real service demands, and answers with the same documents.
//!
//! A stand-in has no keys until [`StandIn::hand_out`], misbehaves when the test says so, and records all requests. A
//! test that uses stand-ins in its own process runs [`alone`](super::alone::alone).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// The message of an STS without keys.
pub const ACCESS_DENIED: &str = "the stand-in lets nobody assume this role";

const IMDS_TOKEN: &str = "imds-session-token";
const IMDS_TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const IMDS_TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The credentials of a service.
#[derive(Clone)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    pub expires_at: SystemTime,
}

/// How a stand-in answers.
#[derive(Clone, Copy)]
pub enum Behaviour {
    /// Answers as the real service does.
    Answer,
    /// Answers each request with this status and an empty body.
    Status(u16),
    /// Sends only the first half of each JSON or XML document.
    Truncate,
    /// Reads the request and never answers. The connection stays open until the stand-in is dropped.
    Hang,
    /// Holds each request until the test sets the next behaviour.
    Hold,
}

/// An HTTP server on a free port. Dropping the stand-in closes the port.
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    answer: Box<Answer>,
    state: Mutex<State>,
    changed: Condvar,
}

type Answer = dyn Fn(&Request, Option<&Keys>) -> Response + Send + Sync;

struct State {
    keys: Option<Keys>,
    behaviour: Behaviour,
    requests: Vec<Request>,
    hanging: Vec<TcpStream>,
    stopped: bool,
}

impl StandIn {
    /// EC2's instance metadata (IMDSv2) in `region`. Without keys the instance has no role.
    pub fn imds(region: &str) -> StandIn {
        let region = region.to_owned();
        StandIn::start(move |request, keys| imds(request, keys, &region))
    }

    /// A container's credentials endpoint with this `authorization`. Without keys it answers 404.
    pub fn container(authorization: &str) -> StandIn {
        let authorization = authorization.to_owned();
        StandIn::start(move |request, keys| container(request, keys, &authorization))
    }

    /// STS, for `AssumeRole` of `role_arn` signed by `access_key_id`. Without keys STS denies access.
    pub fn sts_assume_role(role_arn: &str, access_key_id: &str) -> StandIn {
        let role_arn = role_arn.to_owned();
        let credential = format!("AWS4-HMAC-SHA256 Credential={access_key_id}/");
        StandIn::start(move |request, keys| {
            let signed = request
                .header("authorization")
                .is_some_and(|it| it.starts_with(&credential));
            sts(request, keys, "AssumeRole", &role_arn, signed)
        })
    }

    /// STS, for `AssumeRoleWithWebIdentity` of `role_arn` with `identity_token`. Without keys STS denies access.
    pub fn sts_web_identity(role_arn: &str, identity_token: &str) -> StandIn {
        let role_arn = role_arn.to_owned();
        let identity_token = identity_token.to_owned();
        StandIn::start(move |request, keys| {
            let known =
                parameter(&request.body, "WebIdentityToken").as_ref() == Some(&identity_token);
            sts(request, keys, "AssumeRoleWithWebIdentity", &role_arn, known)
        })
    }

    fn start(
        answer: impl Fn(&Request, Option<&Keys>) -> Response + Send + Sync + 'static,
    ) -> StandIn {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on the loopback");
        let address = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared {
            answer: Box::new(answer),
            state: Mutex::new(State {
                keys: None,
                behaviour: Behaviour::Answer,
                requests: Vec::new(),
                hanging: Vec::new(),
                stopped: false,
            }),
            changed: Condvar::new(),
        });
        let accepting = thread::spawn({
            let shared = shared.clone();
            move || shared.accept(listener)
        });
        StandIn {
            address,
            shared,
            accepting: Some(accepting),
        }
    }

    /// Sets or removes the keys.
    pub fn hand_out(&self, keys: Option<&Keys>) {
        self.shared.state().keys = keys.cloned();
    }

    /// Sets the behaviour. Requests that hang already go on hanging.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.state().behaviour = behaviour;
        self.shared.changed.notify_all();
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Returns once `count` requests have arrived.
    pub fn wait_for_requests(&self, count: usize) {
        let state = self.shared.state();
        drop(
            self.shared
                .wait_while(state, |state| state.requests.len() < count),
        );
    }

    /// Returns once all connections with a hanging request were closed by the client.
    pub fn wait_for_hang_ups(&self) {
        let hanging = mem::take(&mut self.shared.state().hanging);
        for mut stream in hanging {
            // A reset connection is closed as well.
            let _ = stream.read(&mut [0]);
        }
    }

    /// `METHOD PATH` of all requests so far.
    pub fn request_lines(&self) -> Vec<String> {
        self.shared
            .state()
            .requests
            .iter()
            .map(Request::line)
            .collect()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.stopped = true;
            state.hanging.clear();
            self.shared.changed.notify_all();
        }
        // A connection wakes the accept loop, which then ends.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            accepting
                .join()
                .expect("the accept loop of a stand-in panicked");
        }
    }
}

impl Shared {
    /// Also works after a panic of an answer. The client has noticed the panic as a broken connection.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        self.changed
            .wait_while(state, |state| condition(state))
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: Arc<Self>, listener: TcpListener) {
        for stream in listener.incoming() {
            if self.state().stopped {
                return;
            }
            let shared = self.clone();
            // Broken connections are ignored, because the client gets an error.
            thread::spawn(move || stream.and_then(|stream| shared.serve(stream)));
        }
    }

    /// Serves a single request per connection, so that no request waits for another.
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let request = Request::read(&stream)?;
        let response = {
            let mut state = self.state();
            state.requests.push(request.clone());
            self.changed.notify_all();
            let is_held =
                |state: &State| matches!(state.behaviour, Behaviour::Hold) && !state.stopped;
            state = self.wait_while(state, is_held);
            match state.behaviour {
                Behaviour::Answer => (self.answer)(&request, state.keys.as_ref()),
                Behaviour::Truncate => (self.answer)(&request, state.keys.as_ref()).truncated(),
                Behaviour::Status(status) => Response::text(status, ""),
                Behaviour::Hang => {
                    state.hanging.push(stream);
                    return Ok(());
                }
                Behaviour::Hold => return Ok(()),
            }
        };
        stream.write_all(response.to_http().as_bytes())
    }
}

/// A recorded request.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub body: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// `METHOD PATH`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The value of a header. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| value.as_str())
    }

    /// The region of the request's SigV4 signature, if any.
    pub fn signing_region(&self) -> Option<&str> {
        self.header("authorization")?.split('/').nth(2)
    }

    fn read(stream: &TcpStream) -> io::Result<Request> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            body: String::new(),
            headers: Vec::new(),
        };
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            request
                .headers
                .push((name.to_lowercase(), value.trim().to_owned()));
        }
        let length = request
            .header("content-length")
            .and_then(|it| it.parse().ok())
            .unwrap_or(0);
        reader.take(length).read_to_string(&mut request.body)?;
        Ok(request)
    }
}

struct Response {
    status: u16,
    content_type: &'static str,
    header: Option<(&'static str, String)>,
    body: String,
}

impl Response {
    fn text(status: u16, body: &str) -> Response {
        Response {
            status,
            content_type: "text/plain",
            header: None,
            body: body.to_owned(),
        }
    }

    fn json(document: serde_json::Value) -> Response {
        Response {
            content_type: "application/json",
            ..Response::text(200, &document.to_string())
        }
    }

    fn xml(status: u16, document: &str) -> Response {
        Response {
            content_type: "text/xml",
            ..Response::text(status, document)
        }
    }

    fn truncated(mut self) -> Response {
        if self.content_type != "text/plain" {
            self.body.truncate(self.body.len() / 2);
        }
        self
    }

    fn to_http(&self) -> String {
        let mut head = format!(
            "HTTP/1.1 {} \r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n",
            self.status,
            self.content_type,
            self.body.len()
        );
        if let Some((name, value)) = &self.header {
            head += &format!("{name}: {value}\r\n");
        }
        format!("{head}\r\n{}", self.body)
    }
}

/// Does not know `security-credentials-extended`. Newer SDKs try it first and fall back.
fn imds(request: &Request, keys: Option<&Keys>, region: &str) -> Response {
    if request.line() == "PUT /latest/api/token" {
        return match request.header(IMDS_TTL_HEADER) {
            Some(ttl) => Response {
                header: Some((IMDS_TTL_HEADER, ttl.to_owned())),
                ..Response::text(200, IMDS_TOKEN)
            },
            None => Response::text(400, ""),
        };
    }
    if request.header(IMDS_TOKEN_HEADER) != Some(IMDS_TOKEN) {
        return Response::text(401, "");
    }
    match (request.line().as_str(), keys) {
        ("GET /latest/meta-data/placement/region", _) => Response::text(200, region),
        ("GET /latest/meta-data/iam/security-credentials/", Some(_)) => Response::text(200, "app"),
        ("GET /latest/meta-data/iam/security-credentials/app", Some(keys)) => {
            Response::json(json!({
                "Code": "Success",
                "LastUpdated": "2025-01-31T23:59:59Z",
                "Type": "AWS-HMAC",
                "AccessKeyId": keys.access_key_id,
                "SecretAccessKey": keys.secret_access_key,
                "Token": keys.session_token,
                "Expiration": timestamp(keys.expires_at),
            }))
        }
        _ => Response::text(404, ""),
    }
}

fn container(request: &Request, keys: Option<&Keys>, authorization: &str) -> Response {
    if request.header("authorization") != Some(authorization) {
        return Response::text(401, "");
    }
    match (request.line().as_str(), keys) {
        ("GET /v1/credentials", Some(keys)) => Response::json(json!({
            "AccessKeyId": keys.access_key_id,
            "SecretAccessKey": keys.secret_access_key,
            "Token": keys.session_token,
            "Expiration": timestamp(keys.expires_at),
        })),
        _ => Response::text(404, ""),
    }
}

/// `identified`: whether the request has the identity of a known caller.
fn sts(
    request: &Request,
    keys: Option<&Keys>,
    action: &str,
    role_arn: &str,
    identified: bool,
) -> Response {
    if parameter(&request.body, "Action").as_deref() != Some(action) {
        return sts_error(
            400,
            "InvalidAction",
            &format!("the stand-in knows no action but {action}"),
        );
    }
    if !identified {
        return sts_error(
            403,
            "InvalidClientTokenId",
            "the stand-in does not know this caller",
        );
    }
    if parameter(&request.body, "RoleArn").as_deref() != Some(role_arn) {
        return sts_error(
            403,
            "AccessDenied",
            &format!("the stand-in knows no role but {role_arn}"),
        );
    }
    let Some(keys) = keys else {
        return sts_error(403, "AccessDenied", ACCESS_DENIED);
    };
    let access_key_id = &keys.access_key_id;
    let secret_access_key = &keys.secret_access_key;
    let session_token = keys.session_token.as_deref().unwrap_or_default();
    let expires_at = timestamp(keys.expires_at);
    Response::xml(
        200,
        &format!(
            r#"<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <{action}Result>
    <AssumedRoleUser>
      <AssumedRoleId>stand-in:session</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/stand-in/session</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>{access_key_id}</AccessKeyId>
      <SecretAccessKey>{secret_access_key}</SecretAccessKey>
      <SessionToken>{session_token}</SessionToken>
      <Expiration>{expires_at}</Expiration>
    </Credentials>
  </{action}Result>
  <ResponseMetadata><RequestId>stand-in</RequestId></ResponseMetadata>
</{action}Response>"#
        ),
    )
}

fn sts_error(status: u16, code: &str, message: &str) -> Response {
    Response::xml(
        status,
        &format!(
            r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>
  <RequestId>stand-in</RequestId>
</ErrorResponse>"#
        ),
    )
}

/// `2030-01-31T23:59:59Z`
fn timestamp(instant: SystemTime) -> String {
    let since_1970 = instant
        .duration_since(UNIX_EPOCH)
        .expect("an expiry after 1970");
    let instant = time::OffsetDateTime::UNIX_EPOCH + since_1970;
    let (date, time) = (instant.date(), instant.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = time.as_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The decoded value of `name` in a percent-encoded query or form. `+` stands for itself, because neither the SDK nor a
/// token encodes a space as `+`.
pub fn parameter(form: &str, name: &str) -> Option<String> {
    let encoded = form
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let value = percent_encoding::percent_decode_str(encoded).decode_utf8();
    Some(value.expect("a value in UTF-8").into_owned())
}
