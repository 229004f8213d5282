//! What came out: the lines of the `file` handlers, and the dead letters of the stopped server.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::{Arc, mpsc};

use base64::prelude::{BASE64_STANDARD, Engine};
use paquebot_protocol::Packet;
use paquebot_store::{
    DeadLetterFilter, DeadLetterLimits, FileDisk, Ledger, LedgerError, LedgerOptions, Reply,
};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::evidence::Seen;
use super::route::{End, ROUTES};
use crate::exit::{Code, Failure};

/// Names that come again and again.
#[derive(Debug, Default)]
struct Names(HashMap<String, Arc<str>>);

/// A line of a `file` handler.
#[derive(Debug, Deserialize)]
struct Line {
    id: String,
    client: String,
    target: String,
    number: u64,
    data: Option<String>,
    data_base64: Option<String>,
}

/// The lines of every file, by its name and in its order.
pub(super) fn files(server_dir: &Path) -> Result<Vec<(String, Vec<Seen>)>, Failure> {
    let mut read = Vec::new();
    for route in ROUTES.iter().filter(|route| route.end == End::File) {
        let name = route.file();
        let lines = lines(&server_dir.join(&name))?;
        read.push((name, lines));
    }
    Ok(read)
}

fn lines(path: &Path) -> Result<Vec<Seen>, Failure> {
    let place = path.display().to_string();
    let file = match File::open(path) {
        // Nothing was handled yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(Failure::of(Code::Io, &place))?,
    };
    let mut names = Names::default();
    let mut seen = Vec::new();
    for (at, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.map_err(Failure::of(Code::Io, &place))?;
        let bad = |error: &dyn std::fmt::Display| {
            let line = at + 1;
            Failure::new(Code::Data, format!("{place}:{line}: expected a packet, found {error}"))
        };
        let line: Line = serde_json::from_slice(&line).map_err(|error| bad(&error))?;
        let data = match (line.data, line.data_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|error| bad(&error))?,
            _ => return Err(bad(&"not exactly one of data, data_base64")),
        };
        seen.push(Seen {
            id: line.id,
            client: names.get(&line.client),
            target: names.get(&line.target),
            number: line.number,
            digest: xxh3_64(&data),
            bytes: data.len() as u64,
        });
    }
    Ok(seen)
}

/// The dead letters in the ledger of a server that has stopped.
pub(super) fn dead_letters(server_dir: &Path) -> Result<Vec<Seen>, Failure> {
    let failed = |why: String| Failure::new(Code::Data, format!("reading dead letters: {why}"));
    let (dir, dead_letters) = (server_dir.join("data"), DeadLetterLimits::default());
    let opened = Ledger::open(LedgerOptions { dir, dead_letters }, Arc::new(FileDisk));
    let (ledger, _) = opened.map_err(|error| failed(error.to_string()))?;
    let (mut names, mut seen) = (Names::default(), Vec::new());
    let mut filter = DeadLetterFilter { limit: 1_000, ..DeadLetterFilter::default() };
    loop {
        let page = ask(|reply| ledger.list_dead_letters(filter.clone(), reply)).map_err(failed)?;
        for listed in page.letters {
            let id = listed.letter.id;
            let letter = ask(|reply| ledger.dead_letter(id, reply)).map_err(failed)?;
            let letter = letter.ok_or_else(|| failed(format!("{id} is listed and not there")))?;
            let packet =
                Packet::decode(&letter.record).map_err(|error| failed(error.to_string()))?;
            seen.push(Seen {
                id: id.to_string(),
                client: names.get(letter.client.as_str()),
                target: names.get(letter.target.as_str()),
                number: id.number.0,
                digest: xxh3_64(packet.data),
                bytes: packet.data.len() as u64,
            });
        }
        filter.after = match page.next {
            None => break,
            next => next,
        };
    }
    ledger.close().map_err(failed)?;
    Ok(seen)
}

/// Asks the ledger, and waits for the answer.
fn ask<T: Send + 'static>(
    question: impl FnOnce(Reply<Result<T, LedgerError>>),
) -> Result<T, String> {
    let (answer, answered) = mpsc::channel();
    // Whoever waits is this thread.
    question(Box::new(move |found| drop(answer.send(found))));
    let found = answered.recv().map_err(|error| error.to_string())?;
    found.map_err(|error| error.to_string())
}

impl Names {
    fn get(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let known: Arc<str> = name.into();
        self.0.insert(name.to_owned(), Arc::clone(&known));
        known
    }
}
