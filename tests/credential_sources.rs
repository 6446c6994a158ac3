//! The example program `token` with each source of AWS credentials. It prints a token, signed with the keys of the
//! source, and sends no request without need.
//!
//! The program runs in a child process with its own environment, because setting the test's environment is unsafe.

mod programs;
mod servers;
mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::UNIX_EPOCH;

use hmac::{Hmac, KeyInit, Mac};
use programs::Output;
use servers::{ENGINES, KEYS, Servers};
use sha2::{Digest, Sha256};
use support::aws::{self, Behaviour, Keys, Request, StandIn, parameter};
use support::clock::{far_future, s};

const HOST: &str = "mydb.abcdefghijkl.eu-west-1.rds.amazonaws.com";
/// A host whose name has no region.
const CNAME: &str = "db.example.com";
/// The arguments of most runs.
const LOGIN: [&str; 3] = [HOST, "5432", "app"];
const IMDS_REGION: &str = "ap-south-2";
const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/app";

const IMDS_TOKEN: &str = "PUT /latest/api/token";
const IMDS_PLACEMENT: &str = "GET /latest/meta-data/placement/region";
const IMDS_ROLE: &str = "GET /latest/meta-data/iam/security-credentials/";
const IMDS_KEYS: &str = "GET /latest/meta-data/iam/security-credentials/app";

/// A machine with an empty environment, an empty home folder, and the metadata of an EC2 instance without a role,
/// until a test configures more.
struct Machine {
    /// For the messages of failing tests.
    name: &'static str,
    home: PathBuf,
    environment: Vec<(&'static str, String)>,
    imds: StandIn,
    /// The service with the credentials, if not the instance metadata.
    service: Option<StandIn>,
}

/// Makes a machine with a source of these keys.
type Source = fn(&Keys) -> Machine;

/// Sources with the keys themselves.
const LOCAL_SOURCES: [Source; 2] = [environment_keys, shared_credentials];

/// Sources of temporary keys from a service.
const SERVED_SOURCES: [Source; 4] = [assumed_role, web_identity, container, ec2_instance];

fn environment_keys(keys: &Keys) -> Machine {
    let mut machine = Machine::new("environment keys");
    machine.set("AWS_ACCESS_KEY_ID", &keys.access_key_id);
    machine.set("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key);
    if let Some(session_token) = &keys.session_token {
        machine.set("AWS_SESSION_TOKEN", session_token);
    }
    machine
}

fn shared_credentials(keys: &Keys) -> Machine {
    let machine = Machine::new("shared credentials");
    machine.write("credentials", &profile("default", keys));
    machine
}

fn assumed_role(keys: &Keys) -> Machine {
    let user = long_term_keys("of-the-user");
    let mut machine = Machine::new("assumed role");
    machine.write("credentials", &profile("user", &user));
    machine.write(
        "config",
        &format!("[default]\nrole_arn = {ROLE_ARN}\nsource_profile = user\n"),
    );
    let sts = StandIn::sts_assume_role(ROLE_ARN, &user.access_key_id);
    sts.hand_out(Some(keys));
    machine.set("AWS_ENDPOINT_URL_STS", &sts.url());
    machine.service = Some(sts);
    machine
}

fn web_identity(keys: &Keys) -> Machine {
    let identity_token = "identity-token-of-the-pod";
    let mut machine = Machine::new("web identity");
    let file = machine.write("identity", identity_token);
    machine.set("AWS_ROLE_ARN", ROLE_ARN);
    machine.set("AWS_WEB_IDENTITY_TOKEN_FILE", &file);
    let sts = StandIn::sts_web_identity(ROLE_ARN, identity_token);
    sts.hand_out(Some(keys));
    machine.set("AWS_ENDPOINT_URL_STS", &sts.url());
    machine.service = Some(sts);
    machine
}

fn container(keys: &Keys) -> Machine {
    let authorization = "authorization-of-the-task";
    let mut machine = Machine::new("container");
    let endpoint = StandIn::container(authorization);
    endpoint.hand_out(Some(keys));
    let uri = format!("{}/v1/credentials", endpoint.url());
    machine.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri);
    machine.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", authorization);
    machine.service = Some(endpoint);
    machine
}

fn ec2_instance(keys: &Keys) -> Machine {
    let machine = Machine::new("EC2 instance");
    machine.imds.hand_out(Some(keys));
    machine
}

fn profile(name: &str, keys: &Keys) -> String {
    let mut profile = format!(
        "[{name}]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
        keys.access_key_id, keys.secret_access_key
    );
    if let Some(session_token) = &keys.session_token {
        profile += &format!("aws_session_token = {session_token}\n");
    }
    profile
}

fn long_term_keys(whose: &str) -> Keys {
    Keys {
        access_key_id: format!("key-{whose}"),
        secret_access_key: format!("secret-{whose}"),
        session_token: None,
        expires_at: far_future(),
    }
}

/// Keys with a session token. The session token has all characters of base64 that must be encoded.
fn temporary_keys(whose: &str) -> Keys {
    Keys {
        session_token: Some(format!("session+token/{whose}==")),
        ..long_term_keys(whose)
    }
}

impl Machine {
    fn new(name: &'static str) -> Machine {
        static MACHINES: AtomicUsize = AtomicUsize::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("machine-{}-{number}", std::process::id()));
        // A killed process with the same id may have left a folder.
        let _ = fs::remove_dir_all(&home);
        fs::create_dir(&home).expect("a new home folder");
        let imds = StandIn::imds(IMDS_REGION);
        let mut machine = Machine {
            name,
            home,
            environment: Vec::new(),
            imds,
            service: None,
        };
        let path = |name: &str| machine.home.join(name).display().to_string();
        let (home, config, credentials) = (path(""), path("config"), path("credentials"));
        machine.set("HOME", &home);
        machine.set("AWS_CONFIG_FILE", &config);
        machine.set("AWS_SHARED_CREDENTIALS_FILE", &credentials);
        machine.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &machine.imds.url());
        machine
    }

    fn set(&mut self, variable: &'static str, value: &str) {
        self.environment.push((variable, value.to_owned()));
    }

    /// Writes a file in the home folder. Returns the file's path.
    fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.join(name);
        fs::write(&path, text).expect("a file in the home folder");
        path.display().to_string()
    }

    /// The service with the credentials.
    fn service(&self) -> &StandIn {
        self.service.as_ref().unwrap_or(&self.imds)
    }

    /// Asserts a printed token of `app` at `host`:5432, signed with `keys` for `region`.
    #[track_caller]
    fn assert_prints_token(&self, host: &str, keys: &Keys, region: &str) {
        let token = self.token(&[host, "5432", "app"]);
        assert_signed(&token, &format!("{host}:5432"), keys, region);
    }

    /// Runs the program, and returns the printed token.
    fn token(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.stderr, "", "{}", self.name);
        assert_eq!(output.status.code(), Some(0), "{}", self.name);
        let token = output.stdout.strip_suffix('\n').expect("a whole line");
        assert!(!token.contains('\n'), "more than a line: {token}");
        token.to_owned()
    }

    /// Runs the program, and returns the printed error.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.stdout, "", "{}", self.name);
        assert_eq!(output.status.code(), Some(1), "{}", self.name);
        assert_ne!(output.stderr, "", "{}", self.name);
        output.stderr
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        programs::run("token", arguments, environment)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Files left in the target folder's `tmp` do no harm.
        let _ = fs::remove_dir_all(&self.home);
    }
}

/// Asserts a login of `app` at `endpoint`, signed with `keys` for `region`.
#[track_caller]
fn assert_signed(token: &str, endpoint: &str, keys: &Keys, region: &str) {
    let query = token
        .strip_prefix(&format!("{endpoint}/?"))
        .expect("the token starts with its endpoint");
    let value = |name| parameter(query, name);
    assert_eq!(value("Action").as_deref(), Some("connect"));
    assert_eq!(value("DBUser").as_deref(), Some("app"));
    assert_eq!(value("X-Amz-Security-Token"), keys.session_token);

    let timestamp = value("X-Amz-Date").expect("a token has its date");
    let scope = format!("{}/{region}/rds-db/aws4_request", &timestamp[..8]);
    assert_eq!(
        value("X-Amz-Credential"),
        Some(format!("{}/{scope}", keys.access_key_id))
    );

    // SigV4 as in AWS's documentation. Only the secret of `keys` gives this signature.
    let (signed, signature) = query
        .split_once("&X-Amz-Signature=")
        .expect("a token has its signature");
    let request = format!(
        "GET\n/\n{signed}\nhost:{endpoint}\n\nhost\n{}",
        hex(&Sha256::digest(""))
    );
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{}",
        hex(&Sha256::digest(request))
    );
    let secret = format!("AWS4{}", keys.secret_access_key).into_bytes();
    let key = scope.split('/').fold(secret, |key, part| hmac(&key, part));
    assert_eq!(
        signature,
        hex(&hmac(&key, &to_sign)),
        "signed with another secret"
    );
}

fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of all lengths");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn no_request() -> Vec<String> {
    Vec::new()
}

// Sources of credentials

#[test]
fn environment_keys_and_a_host_that_names_its_region_cost_no_request() {
    let keys = long_term_keys("of-the-environment");
    let machine = environment_keys(&keys);
    machine.imds.behave(Behaviour::Hang);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn a_session_token_of_the_environment_is_in_the_token() {
    let keys = temporary_keys("of-the-environment");
    let machine = environment_keys(&keys);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
}

#[test]
fn a_shared_credentials_profile_costs_no_request() {
    let keys = long_term_keys("of-the-profile");
    let machine = shared_credentials(&keys);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn a_named_profile_is_chosen_by_the_environment() {
    let keys = temporary_keys("of-the-profile");
    let mut machine = Machine::new("named profile");
    let profiles = [
        profile("default", &long_term_keys("of-another")),
        profile("app", &keys),
    ];
    machine.write("credentials", &profiles.concat());
    machine.set("AWS_PROFILE", "app");
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
}

#[test]
fn a_profile_with_a_role_costs_one_request_to_sts_signed_by_its_source_profile() {
    let keys = temporary_keys("of-the-role");
    let machine = assumed_role(&keys);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(machine.service().request_lines(), ["POST /"]);
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn a_web_identity_costs_one_request_to_sts() {
    let keys = temporary_keys("of-the-role");
    let machine = web_identity(&keys);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(machine.service().request_lines(), ["POST /"]);
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn a_container_costs_one_request_to_its_endpoint() {
    let keys = temporary_keys("of-the-task");
    let machine = container(&keys);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(machine.service().request_lines(), ["GET /v1/credentials"]);
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn an_ec2_instance_asks_its_metadata_for_a_session_the_role_and_the_keys() {
    let keys = temporary_keys("of-the-instance");
    let machine = ec2_instance(&keys);
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(
        machine.imds.request_lines(),
        [IMDS_TOKEN, IMDS_ROLE, IMDS_KEYS]
    );
}

// Sources of the region

#[test]
fn the_region_that_the_host_names_wins_over_the_environment_and_the_profile() {
    let keys = long_term_keys("of-the-environment");
    let mut machine = environment_keys(&keys);
    machine.set("AWS_REGION", "us-east-2");
    machine.write("config", "[default]\nregion = ca-central-1\n");
    machine.assert_prints_token(HOST, &keys, "eu-west-1");
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn the_region_option_wins_over_the_host() {
    let keys = long_term_keys("of-the-environment");
    let machine = environment_keys(&keys);
    let token = machine.token(&["--region", "eu-north-1", HOST, "5432", "app"]);
    assert_signed(&token, &format!("{HOST}:5432"), &keys, "eu-north-1");
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn the_environment_names_the_region_if_the_host_does_not_and_wins_over_the_profile() {
    let keys = long_term_keys("of-the-environment");
    let mut machine = environment_keys(&keys);
    machine.set("AWS_REGION", "us-east-2");
    machine.write("config", "[default]\nregion = ca-central-1\n");
    machine.assert_prints_token(CNAME, &keys, "us-east-2");
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn the_profile_names_the_region_if_host_and_environment_do_not() {
    let keys = long_term_keys("of-the-environment");
    let machine = environment_keys(&keys);
    machine.write("config", "[default]\nregion = ca-central-1\n");
    machine.assert_prints_token(CNAME, &keys, "ca-central-1");
    assert_eq!(machine.imds.request_lines(), no_request());
}

#[test]
fn the_instance_metadata_is_asked_for_the_region_if_nothing_else_names_one() {
    let keys = long_term_keys("of-the-environment");
    let machine = environment_keys(&keys);
    machine.assert_prints_token(CNAME, &keys, IMDS_REGION);
    assert_eq!(machine.imds.request_lines(), [IMDS_TOKEN, IMDS_PLACEMENT]);
}

#[test]
fn sts_is_asked_in_the_region_of_the_environment_otherwise_of_the_host() {
    let mut machine = assumed_role(&temporary_keys("of-the-role"));
    machine.token(&LOGIN);
    machine.set("AWS_REGION", "us-east-2");
    machine.token(&LOGIN);
    let requests = machine.service().requests();
    let regions: Vec<_> = requests.iter().map(Request::signing_region).collect();
    assert_eq!(regions, [Some("eu-west-1"), Some("us-east-2")]);
}

// Failures

#[test]
fn no_region_anywhere_is_an_error_that_says_so() {
    let machine = environment_keys(&long_term_keys("of-the-environment"));
    machine.imds.behave(Behaviour::Status(404));
    let failure = machine.failure(&[CNAME, "5432", "app"]);
    for words in ["no region", CNAME, "AWS_REGION"] {
        assert!(failure.contains(words), "{failure}");
    }
}

#[test]
fn no_credentials_anywhere_is_an_error_that_says_what_to_do() {
    let failure = Machine::new("no credentials").failure(&LOGIN);
    for words in ["no AWS credentials", "environment", "profile", "role"] {
        assert!(failure.contains(words), "{failure}");
    }
}

#[test]
fn wrong_arguments_are_answered_with_the_usage() {
    let machine = environment_keys(&long_term_keys("of-the-environment"));
    let wrong: [&[&str]; 5] = [
        &[],
        &[HOST, "5432"],
        &[HOST, "5432", "app", "more"],
        &["--region"],
        &["--regoin", "eu-west-1", HOST, "5432", "app"],
    ];
    for arguments in wrong {
        let failure = machine.failure(arguments);
        assert!(
            failure.contains("usage: token [--region REGION] HOST PORT USER"),
            "{arguments:?}: {failure}"
        );
    }
}

#[test]
fn an_invalid_argument_is_named_in_the_error() {
    let machine = environment_keys(&long_term_keys("of-the-environment"));
    for (arguments, named) in [
        (["no host", "5432", "app"], "host \"no host\""),
        ([HOST, "pg", "app"], "\"pg\""),
        ([HOST, "0", "app"], "port 0"),
        ([HOST, "5432", ""], "user \"\""),
    ] {
        let failure = machine.failure(&arguments);
        assert!(failure.contains(named), "{arguments:?}: {failure}");
    }
}

#[test]
fn a_denial_by_sts_is_printed_with_the_message_of_sts() {
    let machine = assumed_role(&temporary_keys("of-the-role"));
    machine.service().hand_out(None);
    let failure = machine.failure(&LOGIN);
    assert!(failure.contains(aws::ACCESS_DENIED), "{failure}");
}

#[test]
fn a_service_that_answers_with_an_error_or_half_a_document_is_an_error_and_no_token() {
    thread::scope(|scope| {
        for source in SERVED_SOURCES {
            for behaviour in [
                Behaviour::Status(429),
                Behaviour::Status(503),
                Behaviour::Truncate,
            ] {
                scope.spawn(move || {
                    let machine = source(&temporary_keys("of-the-source"));
                    machine.service().behave(behaviour);
                    machine.failure(&LOGIN);
                    assert!(
                        !machine.service().requests().is_empty(),
                        "{} was not asked",
                        machine.name
                    );
                });
            }
        }
    });
}

#[test]
fn an_instance_metadata_service_that_hangs_is_asked_once_and_times_out() {
    let machine = ec2_instance(&temporary_keys("of-the-instance"));
    machine.imds.behave(Behaviour::Hang);
    let failure = machine.failure(&LOGIN);
    assert!(
        failure.contains("could not communicate with IMDS"),
        "{failure}"
    );
    assert_eq!(machine.imds.request_lines(), [IMDS_TOKEN]);
}

#[test]
fn expired_credentials_are_an_error_and_no_token() {
    for source in SERVED_SOURCES {
        let expires_at = UNIX_EPOCH + s(1_000_000_000);
        let machine = source(&Keys {
            expires_at,
            ..temporary_keys("of-the-past")
        });
        let failure = machine.failure(&LOGIN);
        assert!(
            failure.contains("expired at 2001-09-09T01:46:40Z"),
            "{}: {failure}",
            machine.name
        );
    }
}

#[test]
fn no_secret_is_printed_outside_of_the_token_even_if_rust_log_is_set() {
    let keys = temporary_keys("of-the-marker");
    for source in LOCAL_SOURCES.into_iter().chain(SERVED_SOURCES) {
        let mut machine = source(&keys);
        machine.set("RUST_LOG", "trace");
        let success = machine.run(&LOGIN);
        let bad_host = machine.run(&["no host", "5432", "app"]);
        machine.service().behave(Behaviour::Truncate);
        let truncated = machine.run(&LOGIN);
        for Output { stdout, stderr, .. } in [success, bad_host, truncated] {
            assert!(!stdout.contains("secret-of-the-"), "{}", machine.name);
            for secret in [
                "secret-of-the-",
                "session+token",
                "session%2Btoken",
                "identity-token-of-the-",
                "authorization-of-the-",
            ] {
                assert!(!stderr.contains(secret), "{}: {stderr}", machine.name);
            }
        }
    }
}

// Logins

/// A machine for each source and each supported kind of key of the servers.
fn machines_with_known_keys(servers: &Servers) -> Vec<Machine> {
    let keys = KEYS.map(|name| {
        let key = servers.key(name);
        Keys {
            access_key_id: key.access_key_id,
            secret_access_key: key.secret_access_key,
            session_token: key.session_token,
            ..long_term_keys("of-the-servers")
        }
    });
    let (temporary, long_term): (Vec<&Keys>, Vec<&Keys>) =
        keys.iter().partition(|keys| keys.session_token.is_some());
    let sources = LOCAL_SOURCES.into_iter().chain(SERVED_SOURCES);
    let temporary = sources.flat_map(|source| temporary.iter().map(move |keys| source(keys)));
    let long_term = LOCAL_SOURCES
        .into_iter()
        .flat_map(|source| long_term.iter().map(move |keys| source(keys)));
    temporary.chain(long_term).collect()
}

#[test]
#[ignore = "needs the servers of tests/rds: run scripts/test"]
fn a_token_from_each_source_logs_in_to_both_servers() {
    let servers = Servers::running();
    for machine in machines_with_known_keys(&servers) {
        for engine in ENGINES {
            let port = servers.port(engine).to_string();
            let token = machine.token(&[servers.host(), &port, "iam_user"]);
            let user = servers.log_in(engine, "iam_user", &token);
            assert_eq!(user.expect(machine.name), "iam_user", "{engine:?}");
        }
    }
}
