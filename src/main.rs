//! The program: arguments in, an exit code out.

use std::process::ExitCode;

use clap::Parser;
use paquebot::cli::{Cli, Command};
use paquebot::exit::{Code, Failure};
use paquebot::{
    bench, dead_letters, doctor, fleet, handlers, init, ledger, manual, print, run, schema, send,
    spool, status, top, torture, trace,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { Code::Usage as u8 } else { 0 };
            // Nowhere is left to report a failure to print to.
            drop(error.print());
            return code.into();
        }
    };
    let done: Result<(), Failure> = match cli.command {
        Command::Run(config) => run::run(&config),
        Command::Check { config, deny_warnings } => run::check(&config, deny_warnings),
        Command::Send(args) => send::send(&args),
        Command::Status { config, fleet: true, json } => fleet::fleet(&config, json),
        Command::Status { config, json, .. } => status::status(&config, json),
        Command::Top(args) => top::top(&args),
        Command::Trace(args) => trace::trace(&args),
        Command::Doctor { config, json } => doctor::doctor(&config, json),
        Command::DeadLetters { command } => dead_letters::dead_letters(&command),
        Command::Handlers { command } => handlers::handlers(&command),
        Command::Ledger { command } => ledger::ledger(&command),
        Command::Spool { command } => spool::spool(&command),
        Command::Init { role } => print::say(&init::config(role)),
        Command::Schema { api } => schema::schema(api),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { dir } => manual::man(dir.as_deref()),
        Command::Bench(args) => bench::bench(&args),
        Command::Torture(args) => torture::torture(&args),
        Command::BenchPart(part) => bench::part(part.part),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                print::remark(failure.message.trim_end());
            }
            (failure.code as u8).into()
        }
    }
}
