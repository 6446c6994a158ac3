//! A stand-in, on the loopback, for STS, RDS, IAM and CloudWatch (`AWS_ENDPOINT_URL`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

pub const ROLE: &str = "arn:aws:iam::123456789012:role/team/app";
const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/app/session";
pub const RESOURCE_ID: &str = "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub const CLUSTER_RESOURCE_ID: &str = "cluster-ABCDEFGHIJKLMNOPQRSTUVWXYZ";
pub const PROXY_RESOURCE_ID: &str = "prx-0123456789abcdef0";
/// In the host of the tests' cluster.
pub const DSQL_ID: &str = "abc1de2fghij3klmn4opqrstuv";

/// The fields of an instance that takes logins with IAM.
const HEALTHY: &str = "<DBInstanceStatus>available</DBInstanceStatus>\
     <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>";

/// What AWS says. A healthy account allows the login.
#[derive(Clone)]
pub struct Account {
    /// Answers in XML by action, or in CBOR for CloudWatch.
    answers: BTreeMap<String, (u16, Vec<u8>)>,
    /// How far AWS's clock is ahead of this machine's, in seconds.
    clock_ahead: i64,
    hangs: bool,
}

impl Account {
    pub fn healthy() -> Account {
        let mut account = Account {
            answers: BTreeMap::new(),
            clock_ahead: 0,
            hangs: false,
        };
        let identity =
            format!("<Arn>{SESSION}</Arn><UserId>id</UserId><Account>123456789012</Account>");
        account.answer("GetCallerIdentity", &identity);
        account.instance(HEALTHY);
        let role = format!(
            "<Role><Path>/team/</Path><RoleName>app</RoleName><RoleId>id</RoleId><Arn>{ROLE}</Arn><CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>"
        );
        account.answer("GetRole", &role);
        account.policy("allowed", "");
        for metric in ["InvalidToken", "InsufficientPermissions", "Throttling"] {
            account.count(metric, 0.0);
        }
        account
    }

    /// Answers an action with the content of its result.
    fn answer(&mut self, action: &str, result: &str) {
        let xml = format!(
            "<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
        );
        self.answers
            .insert(action.to_owned(), (200, xml.into_bytes()));
    }

    pub fn error(mut self, action: &str, code: &str) -> Account {
        self.answers
            .insert(action.to_owned(), (400, error(code).into_bytes()));
        self
    }

    pub fn without(mut self, action: &str) -> Account {
        self.answers.remove(action);
        self
    }

    fn instance(&mut self, fields: &str) {
        let instance = format!(
            "<DBInstances><DBInstance><DBInstanceIdentifier>mydb</DBInstanceIdentifier>\
             <DBInstanceArn>arn:aws:rds:us-east-1:123456789012:db:mydb</DBInstanceArn>\
             <DbiResourceId>{RESOURCE_ID}</DbiResourceId><Engine>postgres</Engine><EngineVersion>17.2</EngineVersion>\
             {fields}</DBInstance></DBInstances>"
        );
        self.answer("DescribeDBInstances", &instance);
    }

    /// An instance with other fields than the healthy one.
    pub fn with_instance(mut self, fields: &str) -> Account {
        self.instance(fields);
        self
    }

    pub fn with_cluster(mut self, fields: &str) -> Account {
        let cluster = format!(
            "<DBClusters><DBCluster><DBClusterIdentifier>mycluster</DBClusterIdentifier>\
             <DBClusterArn>arn:aws:rds:us-east-1:123456789012:cluster:mycluster</DBClusterArn>\
             <DbClusterResourceId>{CLUSTER_RESOURCE_ID}</DbClusterResourceId><Engine>aurora-mysql</Engine>\
             <EngineVersion>8.0</EngineVersion>{fields}</DBCluster></DBClusters>"
        );
        self.answer("DescribeDBClusters", &cluster);
        self
    }

    pub fn with_proxy(mut self, fields: &str) -> Account {
        let proxy = format!(
            "<DBProxies><member><DBProxyName>myproxy</DBProxyName><EngineFamily>POSTGRESQL</EngineFamily>\
             <DBProxyArn>arn:aws:rds:us-east-1:123456789012:db-proxy:{PROXY_RESOURCE_ID}</DBProxyArn>\
             {fields}</member></DBProxies>"
        );
        self.answer("DescribeDBProxies", &proxy);
        let endpoint = "<DBProxyEndpoints><member><DBProxyName>myproxy</DBProxyName></member></DBProxyEndpoints>";
        self.answer("DescribeDBProxyEndpoints", endpoint);
        self
    }

    /// A cluster of Aurora DSQL. `GET /cluster/ID` is answered in JSON.
    pub fn with_dsql_cluster(mut self, status: &str) -> Account {
        let cluster = format!(
            r#"{{"identifier": "{DSQL_ID}", "arn": "arn:aws:dsql:us-east-1:123456789012:cluster/{DSQL_ID}",
                 "status": "{status}", "creationTime": 1767225600, "deletionProtectionEnabled": false}}"#
        );
        self.answers
            .insert("GetCluster".to_owned(), (200, cluster.into_bytes()));
        self
    }

    fn policy(&mut self, decision: &str, fields: &str) {
        let result = format!(
            "<EvaluationResults><member><EvalActionName>rds-db:connect</EvalActionName>\
             <EvalDecision>{decision}</EvalDecision>{fields}</member></EvaluationResults><IsTruncated>false</IsTruncated>"
        );
        self.answer("SimulatePrincipalPolicy", &result);
    }

    /// A decision with further fields of its result.
    pub fn with_decision(mut self, decision: &str, fields: &str) -> Account {
        self.policy(decision, fields);
        self
    }

    /// A decision that depends on a key of the policy's conditions.
    pub fn with_conditions(self, decision: &str, key: &str) -> Account {
        let fields = format!(
            "<ResourceSpecificResults><member><EvalResourceName>*</EvalResourceName>\
             <EvalResourceDecision>{decision}</EvalResourceDecision>\
             <MissingContextValues><member>{key}</member></MissingContextValues></member></ResourceSpecificResults>"
        );
        self.with_decision(decision, &fields)
    }

    /// `allowed`, `implicitDeny` or `explicitDeny`
    pub fn with_policy(mut self, decision: &str) -> Account {
        self.policy(decision, "");
        self
    }

    /// `{"Datapoints": [{"Sum": count}]}`
    fn count(&mut self, metric: &str, count: f64) {
        let mut cbor = vec![0xa1, 0x6a];
        cbor.extend(b"Datapoints");
        cbor.extend([0x81, 0xa1, 0x63]);
        cbor.extend(b"Sum");
        cbor.push(0xfb);
        cbor.extend(count.to_be_bytes());
        self.answers.insert(metric.to_owned(), (200, cbor));
    }

    pub fn with_rejections(mut self, metric: &str, count: f64) -> Account {
        self.count(metric, count);
        self
    }

    pub fn with_clock_ahead(self, seconds: i64) -> Account {
        Account {
            clock_ahead: seconds,
            ..self
        }
    }

    /// Reads requests and never answers.
    pub fn hangs(self) -> Account {
        Account {
            hangs: true,
            ..self
        }
    }

    /// Starts the stand-in. Returns its URL. It ends with this process.
    pub fn start(self) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let account = self.clone();
                thread::spawn(move || account.serve(stream.expect("a connection")));
            }
        });
        format!("http://{address}")
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
        while let Some((line, body)) = request(&mut reader) {
            if self.hangs {
                let _ = reader.read_to_end(&mut Vec::new());
                return;
            }
            let text = String::from_utf8_lossy(&body);
            let action = self.answers.keys().find(|action| {
                if line.contains("GetMetricStatistics") {
                    text.contains(action.as_str())
                } else if line.starts_with("GET /cluster/") {
                    *action == "GetCluster"
                } else {
                    text.starts_with(&format!("Action={action}&"))
                }
            });
            let (status, answer) = match action {
                Some(action) => match wrong_argument(action, &text) {
                    Some(code) => (400, error(code).into_bytes()),
                    None => self.answers[action].clone(),
                },
                None => denied(&line),
            };
            let now = OffsetDateTime::from(now()) + time::Duration::seconds(self.clock_ahead);
            let date = now
                .format(&Rfc2822)
                .expect("a date")
                .replace("+0000", "GMT");
            let head = format!(
                "HTTP/1.1 {status} Answer\r\ndate: {date}\r\nsmithy-protocol: rpc-v2-cbor\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            let mut stream = &stream;
            if stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&answer))
                .is_err()
            {
                return;
            }
        }
    }
}

/// The code of AWS's error if a request has none of the arguments that the tests expect.
fn wrong_argument(action: &str, body: &str) -> Option<&'static str> {
    let (arguments, code): (&[&str], _) = match action {
        "DescribeDBInstances" => (
            &["DBInstanceIdentifier=mydb", "DBInstanceIdentifier=otherdb"],
            "DBInstanceNotFound",
        ),
        "DescribeDBClusters" => (&["DBClusterIdentifier=mycluster"], "DBClusterNotFoundFault"),
        "DescribeDBProxies" => (&["DBProxyName=myproxy"], "DBProxyNotFoundFault"),
        "DescribeDBProxyEndpoints" => (
            &["DBProxyEndpointName=readers"],
            "DBProxyEndpointNotFoundFault",
        ),
        "GetRole" => (&["RoleName=app"], "NoSuchEntity"),
        "SimulatePrincipalPolicy" => (
            &["PolicySourceArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fteam%2Fapp"],
            "NoSuchEntity",
        ),
        "InvalidToken" | "InsufficientPermissions" | "Throttling" => {
            let is_counted = [
                ("DBInstanceIdentifier", "mydb"),
                ("DBClusterIdentifier", "mycluster"),
            ]
            .iter()
            .any(|(name, value)| body.contains(name) && body.contains(value));
            return (!is_counted || !body.contains("AWS/RDS")).then_some("InvalidParameterValue");
        }
        _ => return None,
    };
    let is_expected = arguments.iter().any(|argument| body.contains(argument));
    (!is_expected).then_some(code)
}

fn error(code: &str) -> String {
    format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>the stand-in says no</Message></Error></ErrorResponse>"
    )
}

/// The answer to a request that the identity may not make, by the protocol of its first line.
fn denied(line: &str) -> (u16, Vec<u8>) {
    const CODE: &str = "AccessDenied";
    match line.starts_with("GET ") {
        true => (
            403,
            format!(r#"{{"__type": "{CODE}Exception"}}"#).into_bytes(),
        ),
        false => (403, error(CODE).into_bytes()),
    }
}

/// The first line and the body of a request, or `None` at the end of the connection.
fn request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut first_line = String::new();
    reader
        .read_line(&mut first_line)
        .ok()
        .filter(|len| *len > 0)?;
    let mut len = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            len = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    Some((first_line, body))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the doctor compares the real time"
)]
fn now() -> SystemTime {
    SystemTime::now()
}
