//! `rds-iam exec`, `rds-iam psql` and `rds-iam mysql`

mod option_file;
mod run;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail, ensure};
use rds_iam::Token;
use rds_iam_connector::{Address, Endpoint, InvalidOptions, Protocol};
use tempfile::TempDir;

use crate::args::{DatabaseArgs, ExecArgs, MysqlArgs, PsqlArgs};
use crate::client::option_file::Vendor;
use crate::client::run::Signals;
use crate::target::{self, Target};
use crate::{libpq, output, token};

/// The variable with the path of the option file, for scripts.
const DEFAULTS_FILE: &str = "RDS_IAM_DEFAULTS_FILE";

/// Inherited variables that would lead a client of MySQL or MariaDB to another server, or weaken its check of the server.
const MYSQL_UNSET: [&str; 7] = [
    "LIBMYSQL_ENABLE_CLEARTEXT_PLUGIN",
    "MARIADB_UNIX_PORT",
    "MARIADB_TLS_DISABLE_PEER_VERIFICATION",
    "MYSQL_HOST",
    "MYSQL_PWD",
    "MYSQL_TCP_PORT",
    "MYSQL_UNIX_PORT",
];

/// The clients that read an option file, without the suffix of a version. A script whose name begins in the same way must not
/// be run only to ask for its version.
const MYSQL_CLIENTS: [&str; 22] = [
    "mariadb",
    "mariadb-admin",
    "mariadb-analyze",
    "mariadb-check",
    "mariadb-dump",
    "mariadb-import",
    "mariadb-optimize",
    "mariadb-repair",
    "mariadb-show",
    "mariadb-slap",
    "mariadb-upgrade",
    "mysql",
    "mysql_upgrade",
    "mysqladmin",
    "mysqlanalyze",
    "mysqlcheck",
    "mysqldump",
    "mysqlimport",
    "mysqloptimize",
    "mysqlrepair",
    "mysqlshow",
    "mysqlslap",
];

pub fn exec(args: &ExecArgs) -> anyhow::Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no command")?;
    let connection = Connection::new(&args.database, None)?;
    let vendor = match connection.target.protocol {
        Protocol::Postgres => Ok(None),
        Protocol::MySql if is_mysql_client(program) => vendor_of(program).map(Some),
        // A script, for example.
        Protocol::MySql => match installed_mysql() {
            Ok((_, vendor)) => Ok(Some(vendor)),
            Err(_) => bail!(
                "neither mysql nor mariadb is installed, so the form of the option file is unknown. Install either of them"
            ),
        },
    };
    match vendor {
        Ok(vendor) => connection.run(program, vendor, arguments),
        Err(error) => Ok(error.report()),
    }
}

pub fn psql(args: &PsqlArgs) -> anyhow::Result<ExitCode> {
    let connection = Connection::new(&args.database, Some(Protocol::Postgres))?;
    connection.run(OsStr::new("psql"), None, &args.args)
}

pub fn mysql(args: &MysqlArgs) -> anyhow::Result<ExitCode> {
    let connection = Connection::new(&args.database, Some(Protocol::MySql))?;
    match installed_mysql() {
        Ok((program, vendor)) => connection.run(program, Some(vendor), &args.args),
        Err(error) => Ok(error.report()),
    }
}

/// A database to connect to, checked, and a token.
struct Connection {
    target: Target,
    endpoint: Endpoint,
    token: Token,
    /// Until there is a token, a signal ends this process. From then on, a signal is for the client.
    signals: Signals,
    /// Where libpq connects, if not to the database's own host.
    dialled: Vec<IpAddr>,
}

impl Connection {
    /// Reads the arguments. `protocol` is the protocol of a client that speaks only one.
    fn new(args: &DatabaseArgs, protocol: Option<Protocol>) -> anyhow::Result<Connection> {
        let target = Target::read(&args.url)?;
        if let Some(protocol) = protocol.filter(|protocol| *protocol != target.protocol) {
            let schemes = target::parameters(protocol).schemes;
            return Err(InvalidOptions::Scheme { schemes }.into());
        }
        let endpoint = target.endpoint(args, args.region.as_deref())?;
        let dialled = match &endpoint.dial {
            None => Vec::new(),
            Some(address) if target.protocol == Protocol::Postgres => resolve(address)?,
            Some(_) => bail!(
                "the clients of MySQL and MariaDB verify the name that they connect to, so they cannot dial another address. \
                 Let {} lead to the tunnel, for example in /etc/hosts, and let the tunnel listen on port {}",
                endpoint.server_name(),
                endpoint.login.port()
            ),
        };
        let token = token::sign(&endpoint.login)?;
        Ok(Connection {
            target,
            endpoint,
            token,
            signals: Signals::new().context("signals cannot be handled")?,
            dialled,
        })
    }

    /// Runs a command with files of the vendor's form for MySQL and MariaDB. If a signal kills the command, ends this process
    /// with the same signal.
    fn run(
        mut self,
        program: &OsStr,
        vendor: Option<Vendor>,
        arguments: &[OsString],
    ) -> anyhow::Result<ExitCode> {
        let files = Files::new()?;
        let roots = rds_roots::to_pem(self.endpoint.roots.certs());
        let roots = files.write("roots.pem", &roots)?;
        let mut command = Command::new(program);
        match vendor {
            None => self.set_libpq(&mut command, &roots),
            Some(vendor) => {
                let contents = option_file::contents(&self.target, &self.token, &roots, vendor);
                let file = files.write("client.cnf", &contents)?;
                set_mysql(&mut command, &file, &self.token);
                if is_mysql_client(program) {
                    // The client reads only this file. With `--defaults-extra-file`, `~/.my.cnf` would take precedence and
                    // could switch off TLS.
                    command.arg(format!("--defaults-file={file}"));
                }
            }
        }
        command.args(arguments);
        let ended = match command.spawn() {
            Ok(child) => {
                let early = self.signals.take();
                run::supervise(&child, early, self.signals).context("the client is lost")?
            }
            Err(error) => {
                let program = program.to_owned();
                return Ok(NotStarted { program, error }.report());
            }
        };
        files.remove();
        let missing_region = self.endpoint.roots.missing_region();
        if let (Some(region), false) = (missing_region, ended.is_success()) {
            output::note(format_args!(
                "there are no built-in root certificates for the region {region}. If the client cannot verify the server's \
                 certificate, download AWS's bundle for this region, and give the file with --ca: \
                 https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html"
            ));
        }
        Ok(ended.end_as_client())
    }

    fn set_libpq(&self, command: &mut Command, roots: &str) {
        for name in libpq::UNSET {
            command.env_remove(name);
        }
        command.envs(libpq::variables(&self.target, &self.token));
        command.env("PGSSLROOTCERT", roots);
        if let Some(dial) = &self.endpoint.dial {
            let (names, addresses) = host_lists(self.endpoint.server_name(), &self.dialled);
            command.env("PGHOST", names);
            command.env("PGHOSTADDR", addresses);
            command.env("PGPORT", dial.port.to_string());
        }
    }
}

/// Returns the values of `PGHOST` and `PGHOSTADDR`. libpq tries one address after the other, and wants a name for each.
fn host_lists(name: &str, addresses: &[IpAddr]) -> (String, String) {
    let names = vec![name; addresses.len()];
    let addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    (names.join(","), addresses.join(","))
}

fn set_mysql(command: &mut Command, file: &str, token: &Token) {
    for name in MYSQL_UNSET {
        command.env_remove(name);
    }
    command.env(DEFAULTS_FILE, file);
    // MySQL's clients read `~/.mylogin.cnf` even with `--defaults-file`. There is no file of this name.
    command.env("MYSQL_TEST_LOGIN_FILE", format!("{file}.login"));
    if option_file::is_too_long(token) {
        command.env("MYSQL_PWD", token.as_str());
    }
}

/// Returns the addresses of the near end of a tunnel, each once.
fn resolve(address: &Address) -> anyhow::Result<Vec<IpAddr>> {
    let resolved = (&*address.host, address.port)
        .to_socket_addrs()
        .with_context(|| format!("the address to dial cannot be resolved: {address}"))?;
    let mut addresses = Vec::new();
    for address in resolved {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    ensure!(
        !addresses.is_empty(),
        "the address to dial has no IP address: {address}"
    );
    Ok(addresses)
}

fn is_mysql_client(program: &OsStr) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str);
    let is_of_version = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-');
    name.is_some_and(|name| MYSQL_CLIENTS.contains(&name.trim_end_matches(is_of_version)))
}

/// Returns the first of `mysql` and `mariadb` that is installed.
fn installed_mysql() -> Result<(&'static OsStr, Vendor), NotStarted> {
    let [mysql, mariadb] = ["mysql", "mariadb"].map(OsStr::new);
    match vendor_of(mysql) {
        Ok(vendor) => Ok((mysql, vendor)),
        Err(error) => match vendor_of(mariadb) {
            Ok(vendor) => Ok((mariadb, vendor)),
            Err(_) => Err(error),
        },
    }
}

/// Asks a client of MySQL or MariaDB for its version.
fn vendor_of(program: &OsStr) -> Result<Vendor, NotStarted> {
    let output = Command::new(program)
        // An unreadable option file of the user does not matter.
        .args(["--no-defaults", "--version"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) => Ok(
            match String::from_utf8_lossy(&output.stdout).contains("MariaDB") {
                true => Vendor::MariaDb,
                false => Vendor::MySql,
            },
        ),
        Err(error) => Err(NotStarted {
            program: program.to_owned(),
            error,
        }),
    }
}

/// A command that cannot be started.
struct NotStarted {
    program: OsString,
    error: io::Error,
}

impl NotStarted {
    /// Prints the error. Returns a shell's exit code for it.
    fn report(self) -> ExitCode {
        let NotStarted { program, error } = self;
        let (text, code) = match error.kind() {
            io::ErrorKind::NotFound => {
                let text =
                    format!("the command {program:?} was not found. Install it, or correct PATH");
                (text, 127)
            }
            _ => {
                let text = format!(
                    "the command {program:?} cannot be executed. Check that it is a program"
                );
                (text, 126)
            }
        };
        output::report(&anyhow::Error::new(error).context(text));
        ExitCode::from(code)
    }
}

/// MariaDB's clients ignore an option file with a longer path, and connect without it.
const MAX_PATH_LEN: usize = 400;

/// The files of a client, which only this user can read.
struct Files(TempDir);

impl Files {
    fn new() -> anyhow::Result<Files> {
        let directory = tempfile::Builder::new()
            .prefix("rds-iam-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .context("no directory for temporary files")?;
        // The umask may have removed rights of this user.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700))
            .context("the directory for temporary files cannot be used")?;
        Ok(Files(directory))
    }

    /// Writes a file. Returns the path, which is safe in an option file.
    fn write(&self, name: &str, contents: &str) -> anyhow::Result<String> {
        let path = self.0.path().join(name);
        let write = || {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(contents.as_bytes())
        };
        write().context("a temporary file cannot be written")?;
        let path = path
            .to_str()
            .filter(|path| path.len() <= MAX_PATH_LEN && !path.chars().any(char::is_control));
        let path = path.context(
            "the name of the directory for temporary files is too long, or is not plain text. Set TMPDIR",
        )?;
        Ok(path.to_owned())
    }

    fn remove(self) {
        if let Err(error) = self.0.close() {
            let error = anyhow::Error::new(error);
            output::report(&error.context("the client's temporary files cannot be removed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Not every machine has a name with several addresses.
    #[test]
    fn each_address_of_a_tunnel_has_a_name() {
        let addresses = [
            IpAddr::from(Ipv6Addr::LOCALHOST),
            IpAddr::from(Ipv4Addr::LOCALHOST),
        ];
        let lists = host_lists("db", &addresses);
        assert_eq!(lists, ("db,db".to_owned(), "::1,127.0.0.1".to_owned()));
    }
}
