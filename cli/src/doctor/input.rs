//! The database that the URL names, and whether its name can be signed for.

use std::net::IpAddr;
use std::time::Duration;

use aws_config::BehaviorVersion;
use rds_iam::{Login, Service};
use rds_iam_connector::{Endpoint, Protocol};
use tokio::time::timeout;

use super::on_own_thread;
use super::report::{Check, Finding};
use crate::args::DoctorArgs;
use crate::target::Target;

const LOOK_UP_LIMIT: Duration = Duration::from_secs(3);

/// A checked URL, and where to connect.
pub struct Input {
    pub protocol: Protocol,
    pub database: Option<String>,
    pub endpoint: Endpoint,
    pub region: String,
    /// Whether the host's name has the form of an endpoint of AWS.
    #[cfg_attr(
        not(feature = "account"),
        expect(
            dead_code,
            reason = "only the checks of the account look an endpoint up"
        )
    )]
    pub is_endpoint: bool,
    /// Whether `--ca` or the URL names a file of root certificates.
    pub has_given_roots: bool,
}

pub const CHECKS: [&str; 3] = [INPUT, NAME, "tunnel"];

const INPUT: &str = "input";
const NAME: &str = "name";

pub async fn examine(args: &DoctorArgs, checks: &mut Vec<Check>) -> Option<Input> {
    let target = match Target::read_login(&args.database.url) {
        Ok(target) => target,
        Err(error) => {
            checks.push(Check::wrong(INPUT, Finding::of_error(&*error)));
            return None;
        }
    };
    // Before the region, because a name without a region may be the wrong name.
    let name = name(&target.login).await;
    let (input, text) = match read(args, target).await {
        Ok(read) => read,
        Err(finding) => {
            checks.extend([Check::wrong(INPUT, finding), name]);
            return None;
        }
    };
    checks.extend([Check::ok(INPUT, text), name]);
    let text = match &input.endpoint.dial {
        Some(dial) => format!("connects to {dial}, and signs for the host in the URL"),
        None => "none, connects to the host in the URL".to_owned(),
    };
    checks.push(Check::ok("tunnel", text));
    Some(input)
}

async fn read(args: &DoctorArgs, target: Target) -> Result<(Input, String), Finding> {
    let host = target.login.host();
    let (region, source) = match (target.login.region(), &args.database.region) {
        (Some(of_host), Some(given)) if of_host != given => {
            let problem = format!("the host is in the region {of_host}, and --region is {given}");
            return Err(Finding::new(problem, "remove --region"));
        }
        (Some(region), _) => (region.to_owned(), "the host's name"),
        (None, Some(region)) => (region.clone(), "--region"),
        (None, None) => configured_region().await.ok_or_else(|| {
            Finding::new(
                format!("nothing names the region of {host}"),
                "give --region",
            )
        })?,
    };
    let endpoint = target
        .endpoint(&args.database, Some(&region))
        .map_err(|error| Finding::of_error(&*error))?;
    let login = &endpoint.login;
    let port = match target.parts.url.port() {
        Some(port) => format!("port {port}"),
        None => format!("the default port {}", login.port()),
    };
    let text = format!(
        "user {}, host {host} and {port} from the URL, service {} by the host's name, region {region} from {source}",
        login.user(),
        login.service()
    );
    let input = Input {
        protocol: target.protocol,
        has_given_roots: args.database.ca.is_some() || target.parts.root_file.is_some(),
        is_endpoint: is_endpoint(&target.login),
        database: target.database,
        endpoint,
        region,
    };
    Ok((input, text))
}

fn is_endpoint(login: &Login) -> bool {
    login.region().is_some()
        || login.service() == Service::Dsql
        || login.host().ends_with(".global.rds.amazonaws.com")
}

async fn configured_region() -> Option<(String, &'static str)> {
    for variable in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Ok(region) = std::env::var(variable)
            && !region.is_empty()
        {
            return Some((region, variable));
        }
    }
    let region = on_own_thread(async {
        let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
        config.region().map(ToString::to_string)
    });
    let region = timeout(LOOK_UP_LIMIT, region).await.ok()??;
    let region = region.filter(|region| !region.is_empty())?;
    Some((region, "the AWS profile or the instance"))
}

/// Whether a token can be signed for this name.
async fn name(login: &Login) -> Check {
    let (host, port) = (login.host(), login.port());
    if host.contains(".cluster-custom-") {
        let problem = format!("no token can be made for {host}, a custom endpoint of Aurora");
        let remedy =
            format!("write the cluster's endpoint into the URL, and give --dial {host}:{port}");
        return Check::wrong(NAME, Finding::new(problem, remedy));
    }
    if is_endpoint(login) {
        return Check::ok(NAME, format!("{host} is an endpoint of AWS"));
    }
    const MUST_BE: &str = "and a token must be signed for the database's own endpoint";
    let address = host.trim_matches(['[', ']']);
    if address.parse::<IpAddr>().is_ok() || host == "localhost" {
        let problem = format!("the host {host} is a tunnel or an address, {MUST_BE}");
        let remedy =
            format!("write the database's endpoint into the URL, and give --dial {host}:{port}");
        return Check::wrong(NAME, Finding::new(problem, remedy).certain());
    }
    let canonical = canonical_name(host.to_owned()).await;
    let endpoint = canonical.and_then(|name| Login::new(&name, port, login.user()).ok());
    match endpoint.filter(is_endpoint) {
        Some(endpoint) => {
            let endpoint = endpoint.host();
            let problem = format!("the host {host} is another name of {endpoint}, {MUST_BE}");
            let remedy = format!("write {endpoint} into the URL");
            Check::wrong(NAME, Finding::new(problem, remedy).certain())
        }
        None => {
            let reason = format!("{host} is not an endpoint of AWS, and no look-up leads to one");
            Check::not_checked(NAME, reason)
        }
    }
}

/// The name at the end of all CNAME records.
#[cfg(unix)]
async fn canonical_name(host: String) -> Option<String> {
    let look_up = tokio::task::spawn_blocking(move || {
        let hints = dns_lookup::AddrInfoHints {
            flags: libc::AI_CANONNAME,
            ..dns_lookup::AddrInfoHints::default()
        };
        let mut infos = dns_lookup::getaddrinfo(Some(&host), None, Some(hints)).ok()?;
        infos.find_map(|info| info.ok()?.canonname)
    });
    timeout(LOOK_UP_LIMIT, look_up).await.ok()?.ok()?
}

/// The constant of the flag is known on Unix alone.
#[cfg(not(unix))]
async fn canonical_name(_: String) -> Option<String> {
    None
}
