//! The database that the URL names, and whether its name can be signed for.

use std::net::IpAddr;
use std::time::Duration;

use rds_iam::{Login, Service};
use rds_iam_connector::{Address, Endpoint, Protocol};
use tokio::time::timeout;

use super::report::{Check, Finding};
use crate::args::DoctorArgs;
use crate::target::Target;

const LOOK_UP_LIMIT: Duration = Duration::from_secs(3);

/// A checked URL, and where to connect.
pub struct Input {
    pub url: String,
    pub protocol: Protocol,
    pub endpoint: Endpoint,
    /// The login in the URL. Its region is the region in the host's name.
    pub login: Login,
    pub region: String,
    /// Whether `--ca` or the URL names a file of root certificates.
    pub has_given_roots: bool,
}

pub const CHECKS: [&str; 3] = ["input", "name", "tunnel"];

pub async fn examine(args: &DoctorArgs, checks: &mut Vec<Check>) -> Option<Input> {
    let (input, check) = match read(args).await {
        Ok(read) => read,
        Err(finding) => {
            checks.push(Check::wrong("input", finding));
            return None;
        }
    };
    checks.push(check);
    checks.push(name(&input.login, input.endpoint.dial.as_ref()).await);
    let text = match &input.endpoint.dial {
        Some(dial) => {
            format!("connects to {dial}, and signs the token for the host in the URL")
        }
        None => "none, connects to the host in the URL".to_owned(),
    };
    checks.push(Check::ok("tunnel", text));
    Some(input)
}

async fn read(args: &DoctorArgs) -> Result<(Input, Check), Finding> {
    let target = Target::read(&args.database.url).map_err(|error| Finding::of_error(&*error))?;
    let given = match (target.login.region(), &args.database.region) {
        (Some(_), None) => None,
        (_, Some(region)) => Some((region.clone(), "--region")),
        (None, None) => configured_region().await,
    };
    let given_region = given.as_ref().map(|(region, _)| &**region);
    let endpoint = target
        .endpoint(&args.database, given_region)
        .map_err(|error| Finding::of_error(&*error))?;
    let login = &endpoint.login;
    let (host, port, user) = (login.host(), login.port(), login.user());
    let Some(region) = login.region().map(str::to_owned) else {
        let problem = format!("nothing names the region of {host}");
        return Err(Finding::new(problem, "give --region"));
    };
    let port = match target.parts.url.port() {
        Some(_) => format!("port {port}"),
        None => format!("the default port {port}"),
    };
    let source = given
        .as_ref()
        .map_or("the host's name", |(_, source)| source);
    let text = format!(
        "user {user}, host {host} and {port} from the URL, service {} from the host's name, region {region} from {source}",
        login.service()
    );
    let input = Input {
        url: args.database.url.clone(),
        protocol: target.protocol,
        has_given_roots: args.database.ca.is_some() || target.parts.root_file.is_some(),
        login: target.login,
        endpoint,
        region,
    };
    Ok((input, Check::ok("input", text)))
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
    Some((region, "the AWS profile or the instance"))
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
            Finding::new(
                format!(
                    "{host} is the address of a tunnel or a server, and the database checks its own endpoint in the token"
                ),
                format!(
                    "write the database's endpoint into the URL, and give --dial {host}:{port}"
                ),
            ),
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
        None => ", which also leads to the database",
    };
    Check::wrong(
        NAME,
        Finding::new(
            format!(
                "{host} is another name of {endpoint}, and the database checks its own endpoint in the token"
            ),
            format!("write {endpoint} into the URL{dial}"),
        ),
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
