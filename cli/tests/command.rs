//! The arguments, the outputs, the completions and the manual page of `rds-iam`.

mod support;

use std::process::Stdio;

use support::{HOST, Sandbox, wait};

#[test]
fn wrong_arguments_end_with_the_status_2_and_show_no_url() {
    let url = format!("postgres://app:SECRET@{HOST}");
    for args in [
        &["token", HOST][..],
        &["token", HOST, "5432"],
        &["token", "app@SECRET"],
        &["token", HOST, &url, "app"],
        &["token", HOST, "5432", "app", &url],
        &["psql", &url, &url],
        &["exec", &url],
        &["mysql"],
        &["nothing"],
        &[&url],
        &["help", &url],
        &["psql", "--region", &url, "postgres://app@db.example.com"],
        &[
            "psql",
            "--region",
            "app:SECRET@db",
            "postgres://app@db.example.com",
        ],
        &["psql", "--ca", &url, "postgres://app@db.example.com"],
        &["psql", &format!("--{url}")],
        &[
            "psql",
            "postgres://app@db.example.com",
            "host=h password=SECRET",
        ],
        &[],
    ] {
        let output = Sandbox::new().run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert_eq!(output.stdout, "", "{args:?}");
        assert!(!output.stderr.contains("SECRET"), "{args:?}: {output:?}");
    }
}

#[test]
fn an_error_names_the_option() {
    for (args, name) in [
        (&["psql", "--region"][..], "--region <REGION>"),
        (
            &["token", "--format", "other", HOST, "5432", "app"],
            "--format <FORMAT>",
        ),
    ] {
        let output = Sandbox::new().run(args);
        assert!(output.stderr.contains(name), "{output:?}");
    }
}

#[test]
fn a_closed_output_is_no_panic() {
    for args in [
        &["token", HOST, "5432", "app"][..],
        &["token", HOST, "5432", "app", "--format", "env"],
        &["doctor", "not a URL"],
        &["completions", "bash"],
        &["man"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let sandbox = Sandbox::new();
        let mut command = sandbox.command(args);
        let output = wait(command.stdout(writer).spawn().expect("rds-iam starts"));
        assert_eq!(output.stderr, "", "{args:?}");
        assert_ne!(output.status.code(), Some(101), "{args:?}");
    }
}

#[test]
fn a_closed_standard_error_is_no_panic() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["token", HOST, "0", "app"]);
    command.stdout(Stdio::null()).stderr(writer);
    let output = wait(command.spawn().expect("rds-iam starts"));
    assert_eq!(output.status.code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn an_output_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("the device");
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(["token", HOST, "5432", "app"]);
    let output = wait(command.stdout(full).spawn().expect("rds-iam starts"));
    assert_eq!(output.status.code(), Some(1));
    let start = "rds-iam: standard output cannot be written: ";
    assert!(output.stderr.starts_with(start), "{}", output.stderr);
}

#[test]
fn the_completions_of_each_shell_know_the_subcommands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = Sandbox::new().output(&["completions", shell]);
        for word in ["token", "exec", "psql", "mysql", "doctor", "--dial"] {
            let word = match shell {
                "fish" => word.trim_start_matches('-'),
                _ => word,
            };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn the_completions_of_bash_complete_options_and_values() {
    let mut sandbox = Sandbox::new();
    let script = sandbox.output(&["completions", "bash"]);
    std::fs::write(sandbox.path("completions"), script).expect("a file");
    sandbox.set("COMPLETIONS", &sandbox.path("completions"));
    for (words, expected) in [
        ("rds-iam tok", "token"),
        ("rds-iam token --for", "--format"),
        ("rds-iam token --format e", "env"),
        ("rds-iam doctor --js", "--json"),
        ("rds-iam completions z", "zsh"),
    ] {
        let run = format!(
            r#"bash -c '. "$COMPLETIONS"
            COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            function=$(complete -p rds-iam | sed "s/.* -F //; s/ .*//")
            $function rds-iam "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD - 1]}}"
            echo "${{COMPREPLY[@]}}"'"#
        );
        assert_eq!(sandbox.shell(&run), format!("{expected}\n"), "{words}");
    }
}

#[test]
fn the_manual_page_has_a_section_for_each_subcommand() {
    let page = Sandbox::new().output(&["man"]);
    for section in [
        "TOKEN",
        "EXEC",
        "PSQL",
        "MYSQL",
        "DOCTOR",
        "COMPLETIONS",
        "MAN",
    ] {
        let heading = format!("\n.SH \"RDS-IAM {section}\"\n");
        assert!(page.contains(&heading), "{section}");
    }
    assert!(
        page.contains(r"\fBrds\-iam exec\fR [OPTIONS] URL \-\- COMMAND"),
        "{page}"
    );
}
