//! `Login::region` of hosts that are put together from the parts of RDS's and DSQL's names: a region stands where the service
//! puts it, and in its own partition.
#![no_main]

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use rds_iam::{Login, Service};

#[derive(Arbitrary, Debug)]
enum Label {
    Rds,
    RdsFips,
    Dsql,
    DsqlOfPrivateLink,
    Global,
    Region(Prefix, u8),
    Text(String),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Prefix {
    Eu,
    Cn,
    UsGov,
    UsIso,
    UsIsob,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum DnsSuffix {
    Commercial,
    China,
    Iso,
    Isob,
    Dsql,
}

fuzz_target!(|input: (Vec<Label>, DnsSuffix)| {
    let (labels, dns_suffix) = input;
    let name = labels.iter().map(text).collect::<Vec<_>>().join(".");
    let host = format!("{name}{}", dns_suffix.as_str());
    let Ok(login) = Login::new(&host, 5432, "app") else {
        return;
    };
    let Some(region) = login.region() else {
        assert_eq!(login.service(), Service::RdsDb, "{host}");
        return;
    };

    let name = login.host().strip_suffix(dns_suffix.as_str()).expect("the host ends as it did");
    let labels: Vec<&str> = name.split('.').rev().collect();
    if login.service() == Service::Dsql {
        assert!(labels.len() == 3 && labels[0] == region && labels[1].starts_with("dsql"), "{host}");
        assert!(dns_suffix.as_str() == ".on.aws" && !region.starts_with("cn-"), "{host}");
        return;
    }
    let is_rds = |label: &str| label == "rds" || label == "rds-fips";
    let stands_before_rds = labels.len() >= 3 && is_rds(labels[0]) && labels[1] == region;
    let stands_after_rds = labels.len() >= 4 && is_rds(labels[1]) && labels[0] == region;
    assert!(stands_before_rds || stands_after_rds, "{region} of {host}");

    let partition = match region {
        _ if region.starts_with("cn-") => ".amazonaws.com.cn",
        _ if region.starts_with("us-iso-") => ".c2s.ic.gov",
        _ if region.starts_with("us-isob-") => ".sc2s.sgov.gov",
        _ => ".amazonaws.com",
    };
    assert_eq!(dns_suffix.as_str(), partition, "{region} of {host}");

    if let Ok(longer) = Login::new(&format!("x.{host}"), 5432, "app") {
        assert_eq!(longer.region(), Some(region), "{host}");
    }
});

fn text(label: &Label) -> String {
    match label {
        Label::Rds => "rds".to_owned(),
        Label::RdsFips => "RDS-FIPS".to_owned(),
        Label::Dsql => "dsql".to_owned(),
        Label::DsqlOfPrivateLink => "dsql-fnh4".to_owned(),
        Label::Global => "global-abc".to_owned(),
        Label::Region(prefix, number) => format!("{}-north-{number}", prefix.as_str()),
        Label::Text(text) => text.clone(),
    }
}

impl Prefix {
    fn as_str(self) -> &'static str {
        match self {
            Prefix::Eu => "eu",
            Prefix::Cn => "cn",
            Prefix::UsGov => "us-gov",
            Prefix::UsIso => "us-iso",
            Prefix::UsIsob => "us-isob",
        }
    }
}

impl DnsSuffix {
    fn as_str(self) -> &'static str {
        match self {
            DnsSuffix::Commercial => ".amazonaws.com",
            DnsSuffix::China => ".amazonaws.com.cn",
            DnsSuffix::Iso => ".c2s.ic.gov",
            DnsSuffix::Isob => ".sc2s.sgov.gov",
            DnsSuffix::Dsql => ".on.aws",
        }
    }
}
