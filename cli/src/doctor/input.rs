//! The database that the URL names, and whether its name can be signed for.

use std::net::IpAddr;
use std::time::Duration;

use rds_iam::{Login, Service};
use rds_iam_connector::{Address, Endpoint, Protocol};
use tokio::time::timeout;

use super::Group;
use super::report::{Check, Finding, Outcome};
use crate::args::DoctorArgs;
use crate::target::Target;

const LOOK_UP_LIMIT: Duration = Duration::from_secs(3);

/// A checked URL, and where to connect.
#[cfg_attr(
    not(feature = "account"),
    expect(dead_code, reason = "only the checks of the account read all fields")
)]
pub struct Input {
    pub url: String,
    pub protocol: Protocol,
    pub endpoint: Endpoint,
    pub region: String,
    /// Whether the host's name has a region.
    pub name_has_region: bool,
    /// Whether `--ca` or the URL names a file of root certificates.
    pub has_given_roots: bool,
}

pub async fn examine(args: &DoctorArgs) -> Group<Input> {
    let wrong = |finding| {
        let outcome = Outcome::Wrong(finding);
        (
            vec![Check {
                name: "input",
                outcome,
            }],
            None,
        )
    };
    let target = match Target::read(&args.database.url) {
        Ok(target) => target,
        Err(error) => return wrong(Finding::of_error(&*error)),
    };
    let given = match (target.login.region(), &args.database.region) {
        (Some(_), None) => None,
        (_, Some(region)) => Some((region.clone(), "from --region")),
        (None, None) => configured_region().await,
    };
    let given_region = given.as_ref().map(|(region, _)| &**region);
    let endpoint = match target.endpoint(&args.database, given_region) {
        Ok(endpoint) => endpoint,
        Err(error) => return wrong(Finding::of_error(&*error)),
    };
    let login = &endpoint.login;
    let Some(region) = login.region().map(str::to_owned) else {
        return wrong(Finding::new(
            format!("nothing names the region of {}", login.host()),
            "give --region",
        ));
    };
    let source = given
        .as_ref()
        .map_or("from the host's name", |(_, source)| source);
    let mut checks = vec![Check::ok(
        "input",
        format!(
            "{login}, service {}, region {region} ({source})",
            login.service()
        ),
    )];
    checks.push(name(&target.login, endpoint.dial.as_ref()).await);
    if let Some(dial) = &endpoint.dial {
        let text = format!("connects to {dial}; the token is signed for the host in the URL");
        checks.push(Check::ok("tunnel", text));
    }
    let input = Input {
        url: args.database.url.clone(),
        protocol: target.protocol,
        name_has_region: target.login.region().is_some(),
        has_given_roots: args.database.ca.is_some() || target.parts.root_file.is_some(),
        endpoint,
        region,
    };
    (checks, Some(input))
}

async fn configured_region() -> Option<(String, &'static str)> {
    for variable in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
        if let Ok(region) = std::env::var(variable)
            && !region.is_empty()
        {
            return Some((region, variable));
        }
    }
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest());
    let config = timeout(LOOK_UP_LIMIT, config).await.ok()?;
    let region = config.region()?.to_string();
    Some((region, "from the AWS profile or the instance"))
}

/// Whether the database checks this name in the token.
async fn name(login: &Login, dial: Option<&Address>) -> Check {
    const NAME: &str = "name";
    let host = login.host();
    let is_endpoint = login.region().is_some()
        || login.service() == Service::Dsql
        || host.ends_with(".global.rds.amazonaws.com");
    if is_endpoint {
        return Check::ok(NAME, format!("{host} is an endpoint of AWS"));
    }
    let address = host.trim_matches(['[', ']']);
    if address.parse::<IpAddr>().is_ok() || host == "localhost" {
        let port = login.port();
        return Check::wrong(
            NAME,
            format!(
                "{host} is the address of a tunnel or a server, and the database checks its own endpoint in the token"
            ),
            format!("write the database's endpoint into the URL, and give --dial {host}:{port}"),
        );
    }
    let canonical = canonical_name(host.to_owned()).await;
    let endpoint = canonical.and_then(|name| Login::new(&name, login.port(), login.user()).ok());
    let Some(endpoint) = endpoint.filter(|endpoint| endpoint.region().is_some()) else {
        return Check::not_checked(
            NAME,
            format!("{host} is not an endpoint of AWS, and no look-up leads to one"),
        );
    };
    let endpoint = endpoint.host();
    let dial = match dial {
        Some(_) => "",
        None => ". The endpoint's name also leads to the database",
    };
    Check::wrong(
        NAME,
        format!(
            "{host} is another name of {endpoint}, and the database checks its own endpoint in the token"
        ),
        format!("write {endpoint} into the URL{dial}"),
    )
}

/// The name at the end of all CNAME records.
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
