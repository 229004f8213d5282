//! The command `ledger`: checks a ledger, sets a damaged one aside, backs one up.
//!
//! It never repairs: what a ledger says that cannot be read is never guessed (R10).

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use paquebot_store::ledger::check;
use paquebot_store::{FileDisk, LedgerCheck, SetAside};

use crate::cli::{ConfigArgs, LedgerBackupArgs, LedgerCheckArgs, LedgerCommand};
use crate::config::ADMIN_SOCKET;
use crate::door::Door;
use crate::exit::{Code, Failure};
use crate::print::say;
use crate::run;
use crate::wiring::store_failure;
use crate::words;

/// How long a backup of a running process may take.
const BACKUP: Duration = Duration::from_mins(30);

/// Does it.
///
/// # Errors
/// When the ledger is damaged, held by a process, or the disk refuses.
pub fn ledger(command: &LedgerCommand) -> Result<(), Failure> {
    match command {
        LedgerCommand::Check(args) => check(args),
        LedgerCommand::Backup(args) => back_up(args),
    }
}

fn check(args: &LedgerCheckArgs) -> Result<(), Failure> {
    let dir = directory(args.dir.as_deref(), &args.config)?;
    if args.set_aside {
        let done = check::set_aside(&dir, &FileDisk).map_err(|error| store_failure(&error))?;
        if args.json {
            return say(&format!("{:#}", json(&done.check, Some(&done))));
        }
        return say(&(in_words(&done.check) + &set_aside_in_words(&done)));
    }
    let found = check::check(&dir, &FileDisk).map_err(|error| store_failure(&error))?;
    if args.json {
        say(&format!("{:#}", json(&found, None)))?;
    } else {
        say(&in_words(&found))?;
    }
    if found.is_intact() {
        return Ok(());
    }
    let message = "the ledger is damaged: restore a backup, or see `paquebot ledger check --help`";
    Err(Failure::new(Code::Data, message))
}

fn in_words(found: &LedgerCheck) -> String {
    let mut out = String::new();
    if let Some(ledger) = found.ledger {
        let lanes = words::counted(found.lanes, "lane", "lanes");
        let letters = words::counted(found.dead_letters, "dead letter", "dead letters");
        let elsewhere = words::packets(found.elsewhere);
        out = format!("ledger {ledger}: {lanes}, {letters}, {elsewhere} handled elsewhere\n");
    }
    for file in &found.files {
        let state =
            file.damage.as_ref().map_or("intact".to_owned(), |why| format!("DAMAGED: {why}"));
        out.push_str(&format!("  {}  {state}\n", file.path.display()));
    }
    out
}

fn set_aside_in_words(done: &SetAside) -> String {
    let mut out = String::new();
    for path in done.kept_as.iter().chain(&done.report) {
        out.push_str(&format!("  kept        {}\n", path.display()));
    }
    match done.begun {
        Some(ledger) => out.push_str(&format!("a new ledger was begun: {ledger}\n")),
        None if done.kept_as.is_empty() => out.push_str("nothing had to be set aside\n"),
        None => {}
    }
    out
}

fn json(found: &LedgerCheck, done: Option<&SetAside>) -> serde_json::Value {
    let files = found.files.iter().map(|file| {
        serde_json::json!({ "path": file.path.display().to_string(), "damage": file.damage })
    });
    let shown = |path: &PathBuf| path.display().to_string();
    serde_json::json!({
        "intact": found.is_intact(),
        "ledger": found.ledger.map(|ledger| ledger.to_string()),
        "lanes": found.lanes,
        "dead_letters": found.dead_letters,
        "elsewhere": found.elsewhere,
        "files": files.collect::<Vec<_>>(),
        "set_aside": done.map(|done| serde_json::json!({
            "kept_as": done.kept_as.iter().map(shown).collect::<Vec<_>>(),
            "report": done.report.as_ref().map(shown),
            "begun": done.begun.map(|ledger| ledger.to_string()),
        })),
    })
}

/// Asks the running process, or copies the files when there is none.
fn back_up(args: &LedgerBackupArgs) -> Result<(), Failure> {
    let file = std::path::absolute(&args.file)
        .map_err(Failure::of(Code::Io, "finding the place of the backup failed"))?;
    let dir = directory(args.dir.as_deref(), &args.config)?;
    let online = match ask(&dir.join(ADMIN_SOCKET), &file) {
        Err(failure) if failure.code == Code::Unavailable => {
            check::copy(&dir, &file, &FileDisk).map_err(|error| store_failure(&error))?;
            false
        }
        asked => {
            asked?;
            true
        }
    };
    let from = if online { "of the running process" } else { "of no running process" };
    say(&format!("the ledger in {} ({from}) is copied to {}", dir.display(), file.display()))
}

fn ask(socket: &Path, file: &Path) -> Result<(), Failure> {
    let Some(path) = file.to_str() else {
        return Err(Failure::new(Code::Usage, "expected a FILE in UTF-8, found other bytes"));
    };
    let body = serde_json::json!({ "path": path }).to_string();
    let request = Request::builder()
        .method("POST")
        .uri("/v1/ledger/backup")
        .header("host", "paquebot")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(Failure::of(Code::Internal, "asking failed"))?;
    let answer = Door::Unix(socket.to_owned()).ask(request, BACKUP)?;
    if answer.status.is_success() {
        return Ok(());
    }
    let why = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
    let why = why.as_ref().and_then(|why| why.get("detail")?.as_str()).unwrap_or("no reason given");
    Err(Failure::new(Code::Io, format!("the backup failed: {why}")))
}

fn directory(dir: Option<&Path>, config: &ConfigArgs) -> Result<PathBuf, Failure> {
    if let Some(dir) = dir {
        return Ok(dir.to_owned());
    }
    let config = run::load(config)?.config;
    let missing = || {
        let path = config.path.display();
        Failure::new(Code::Config, format!("{path}: expected a [server] part, found none"))
    };
    config.server.as_ref().map(|server| server.data_dir.clone()).ok_or_else(missing)
}
