//! The commands `completions` and `man`: what shells and readers need, made from the command line's own
//! definition, so that both know every option.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::{Code, Failure};
use crate::print;

const NAME: &str = "paquebot";

/// Writes the completions of a shell to standard output.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut visible(), NAME, &mut text);
    say(&text)
}

/// Writes the manual's page to standard output, or the pages of all commands into a directory.
///
/// # Errors
/// When standard output or the directory cannot be written.
pub fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut text = Vec::new();
        let rendered = Man::new(visible()).render(&mut text);
        rendered.map_err(Failure::of(Code::Internal, "the page cannot be made"))?;
        return say(&text);
    };
    let doing = format!("writing the pages to {}", dir.display());
    std::fs::create_dir_all(dir).map_err(Failure::of(Code::Io, &doing))?;
    clap_mangen::generate_to(visible(), dir).map_err(Failure::of(Code::Io, &doing))
}

/// The command line without what users do not call.
fn visible() -> Command {
    let all = Cli::command();
    let (shown, hidden): (Vec<_>, Vec<_>) =
        all.get_subcommands().cloned().partition(|command| !command.is_hide_set());
    if hidden.is_empty() {
        return all;
    }
    let version = env!("CARGO_PKG_VERSION");
    let mut command = Command::new(NAME).version(version).propagate_version(true);
    if let Some(about) = all.get_about() {
        command = command.about(about.clone());
    }
    command.subcommand_required(true).args(all.get_arguments()).subcommands(shown)
}

fn say(text: &[u8]) -> Result<(), Failure> {
    print::say(&String::from_utf8_lossy(text))
}
