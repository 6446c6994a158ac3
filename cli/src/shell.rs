//! `rds-iam completions` and `rds-iam man`

use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Args, CompletionsArgs};
use crate::output::print;

pub fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut command = Args::command();
    let name = command.get_name().to_owned();
    // In memory first, because `generate` panics if a writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    // In a script for bash, the labels of a command with a hyphen differ from the values (clap issue 6421).
    print(String::from_utf8(script)?.replace("rds__subcmd__iam", "rds__iam"))
}

/// Prints a single page, with a section for each subcommand.
pub fn man() -> anyhow::Result<ExitCode> {
    let mut command = Args::command().disable_help_subcommand(true);
    command.build();
    let subcommands: Vec<_> = command.get_subcommands().cloned().collect();
    let page = Man::new(command);
    let mut roff = Vec::new();
    page.render_title(&mut roff)?;
    page.render_name_section(&mut roff)?;
    page.render_synopsis_section(&mut roff)?;
    page.render_description_section(&mut roff)?;
    page.render_options_section(&mut roff)?;
    for subcommand in subcommands {
        roff.extend(section_of(subcommand)?.into_bytes());
    }
    page.render_version_section(&mut roff)?;
    print(roff)
}

/// The section of a subcommand. The sections of its own page become subsections.
fn section_of(subcommand: clap::Command) -> anyhow::Result<String> {
    let name = subcommand.get_bin_name().unwrap_or_default().to_uppercase();
    let page = Man::new(subcommand);
    let mut roff = Vec::new();
    page.render_synopsis_section(&mut roff)?;
    page.render_description_section(&mut roff)?;
    page.render_options_section(&mut roff)?;
    let roff = String::from_utf8(roff)?;
    Ok(format!(".SH \"{name}\"\n{}", roff.replace(".SH ", ".SS ")))
}
