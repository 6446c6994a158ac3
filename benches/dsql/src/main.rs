//! How long pools for Aurora DSQL open no new connections if the credentials source is down, and if credentials are
//! revoked. `benches/README.md` says how to run this program.
//!
//! In real time, because AWS's connector has no clock to set.

mod pools;
mod scenarios;
mod server;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use pools::{CONNECTORS, Connector, Failure, Pool};
use scenarios::{Clock, SCENARIOS, Scenario, Source};
use server::Server;
use tokio::time::{MissedTickBehavior, interval_at, sleep};
use tracing_subscriber::filter::LevelFilter;

/// From one attempt of a pool to the next.
const INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_DURATION: u64 = 1500;

/// The attempts of a pool in a scenario.
struct Measurement {
    scenario: &'static Scenario,
    connector: Connector,
    attempts: Vec<Attempt>,
    /// The seconds at which the pool asked the source.
    asked_at: Vec<u64>,
}

struct Attempt {
    /// The second at which the attempt ended.
    ended_at: f64,
    outcome: Result<(), Failure>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::WARN)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let duration = match std::env::args().nth(1) {
        Some(seconds) => seconds.parse()?,
        None => DEFAULT_DURATION,
    };
    let server = Server::running()?;
    let clock = Clock::start();
    server.apply_keys(&scenarios::keys_at(0))?;

    let pools: Vec<_> = SCENARIOS
        .iter()
        .flat_map(|scenario| CONNECTORS.map(|connector| (scenario, connector)))
        .collect();
    let count = pools.len() as u32;
    let mut tasks = Vec::new();
    for (number, (scenario, connector)) in (0..).zip(pools) {
        let server = server.clone();
        tasks.push(tokio::spawn(async move {
            // The pools take turns, so that they do not compete for the processor.
            sleep(INTERVAL * number / count).await;
            measure(scenario, connector, &server, clock, duration).await
        }));
    }
    while clock.seconds() < duration {
        sleep(Duration::from_secs(1)).await;
        server.apply_keys(&scenarios::keys_at(clock.seconds()))?;
    }
    let mut measurements = Vec::new();
    for task in tasks {
        measurements.push(task.await??);
    }
    server.apply_keys(&scenarios::no_keys())?;
    print_table(&measurements);
    measurements.iter().for_each(print_details);
    Ok(())
}

async fn measure(
    scenario: &'static Scenario,
    connector: Connector,
    server: &Server,
    clock: Clock,
    duration: u64,
) -> anyhow::Result<Measurement> {
    let source = Source::new(scenario, clock);
    let pool = Pool::open(connector, server, source.clone()).await?;
    // The task of a pool of `rds-iam-sqlx` looks at the pool each minute after this moment. No attempt is then in flight.
    let mut timer = interval_at(tokio::time::Instant::now() + INTERVAL / 2, INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut attempts: Vec<Attempt> = Vec::new();
    while clock.seconds() < duration {
        timer.tick().await;
        let outcome = pool.open_connection().await;
        let ended_at = clock.elapsed().as_secs_f64();
        let before = attempts.last().is_none_or(|it| it.outcome.is_ok());
        match &outcome {
            Ok(()) if !before => eprintln!("{ended_at:.1} {scenario} {connector}: connected again"),
            Err(failure) if before => {
                eprintln!("{ended_at:.1} {scenario} {connector}: {}", failure.text)
            }
            _ => {}
        }
        attempts.push(Attempt { ended_at, outcome });
    }
    Ok(Measurement {
        scenario,
        connector,
        attempts,
        asked_at: source.asked_at(),
    })
}

impl Measurement {
    fn failures(&self) -> Vec<(f64, &Failure)> {
        let attempts = self.attempts.iter();
        attempts
            .filter_map(|it| Some((it.ended_at, it.outcome.as_ref().err()?)))
            .collect()
    }

    /// In seconds.
    fn longest_without_connection(&self) -> f64 {
        let end = self.attempts.last().map_or(0.0, |it| it.ended_at);
        let connected = self.attempts.iter().filter(|it| it.outcome.is_ok());
        let (mut longest, mut last) = (0.0_f64, 0.0);
        for moment in connected.map(|it| it.ended_at).chain([end]) {
            longest = longest.max(moment - last);
            last = moment;
        }
        longest
    }
}

fn print_table(measurements: &[Measurement]) {
    println!(
        "| scenario | pool | attempts | failed | of these rejected | first failure | last failure | longest without a new connection | source asked |"
    );
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for measurement in measurements {
        let failures = measurement.failures();
        let rejected = failures.iter().filter(|(_, it)| it.is_rejection).count();
        let moment = |failure: Option<&(f64, &Failure)>| {
            failure.map_or(String::new(), |(moment, _)| format!("{moment:.0} s"))
        };
        println!(
            "| {} | {} | {} | {} | {rejected} | {} | {} | {:.0} s | {} |",
            measurement.scenario,
            measurement.connector,
            measurement.attempts.len(),
            failures.len(),
            moment(failures.first()),
            moment(failures.last()),
            measurement.longest_without_connection(),
            measurement.asked_at.len(),
        );
    }
}

/// The texts of the errors with their counts, and when the source was asked.
fn print_details(measurement: &Measurement) {
    println!("\n{}, {}:", measurement.scenario, measurement.connector);
    let mut texts = BTreeMap::new();
    for (_, failure) in measurement.failures() {
        *texts.entry(&failure.text).or_insert(0) += 1;
    }
    for (text, count) in texts {
        println!("- {count} times: {text}");
    }
    println!("- source asked at {:?} s", measurement.asked_at);
}
