//! A writer: posts packets to one client and remembers what it was told, in memory and in a file.
//!
//! It never posts anything twice, so that whatever is there twice is the broker's doing.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use fastrand::Rng;
use serde_json::{Value, json};

use super::draft::{Draft, Drafter};
use super::evidence::{Sent, Stored};
use super::offence::Kind;
use super::plan::spread;
use super::post::{Post, Reply};
use super::stage::Stage;
use super::tally;
use crate::exit::{Code, Failure};

/// Packets of a burst.
const BURST: (u64, u64) = (1, 60);

/// The pause after it, in milliseconds.
const PAUSE_MS: (u64, u64) = (5, 1_500);

/// How soon a client that is away is tried again.
const AWAY: Duration = Duration::from_millis(20);

/// How a writer posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// One packet a request.
    Single,
    /// Lines of JSON.
    Lines,
}

/// One writer.
#[derive(Debug)]
pub(super) struct Writer {
    /// What was answered "stored", in order.
    pub(super) stored: Vec<Stored>,
    /// What got no answer.
    pub(super) unknown: Vec<Sent>,
    stage: Arc<Stage>,
    drafter: Drafter,
    post: Post,
    style: Style,
    rng: Rng,
    journal: File,
}

impl Writer {
    /// A writer that has not written; its journal is made at `journal`.
    pub(super) fn new(
        stage: &Arc<Stage>,
        drafter: Drafter,
        post: Post,
        style: Style,
        rng: Rng,
        journal: &Path,
    ) -> Result<Self, Failure> {
        let journal = File::create(journal).map_err(Failure::of(Code::Io, "a writer's journal"))?;
        let (stored, unknown, stage) = (Vec::new(), Vec::new(), Arc::clone(stage));
        Ok(Self { stored, unknown, stage, drafter, post, style, rng, journal })
    }

    /// Writes while it storms.
    pub(super) async fn write(mut self) -> Self {
        while self.stage.storms() {
            let burst = spread(&mut self.rng, BURST);
            match self.style {
                Style::Single => {
                    for _ in 0..burst {
                        let draft = self.drafter.draft();
                        self.post_single(draft).await;
                        if !self.stage.storms() {
                            break;
                        }
                    }
                }
                Style::Lines => {
                    let drafts = (0..burst).map(|_| self.drafter.draft()).collect();
                    self.post_lines(drafts).await;
                }
            }
            let pause = Duration::from_millis(spread(&mut self.rng, PAUSE_MS));
            self.stage.storm(pause).await;
        }
        self
    }

    async fn post_single(&mut self, draft: Draft) {
        let Draft { data, sent } = draft;
        let path = format!("/v1/packets/{}", sent.target);
        let Some(reply) = self.insist(&path, "application/octet-stream", data).await else {
            return;
        };
        self.stage.tally.one(tally::POSTED);
        match reply {
            Reply::Whole(202, body) => self.told(sent, &body),
            Reply::Whole(status, _) => self.not_stored(sent, status),
            Reply::Broken(_) | Reply::Unsent => self.not_told(sent),
        }
    }

    async fn post_lines(&mut self, drafts: Vec<Draft>) {
        let mut body = Vec::new();
        for Draft { data, sent } in &drafts {
            let line = match str::from_utf8(data) {
                Ok(text) => json!({ "target": &*sent.target, "data": text }),
                Err(_) => {
                    json!({ "target": &*sent.target, "data_base64": BASE64_STANDARD.encode(data) })
                }
            };
            body.extend_from_slice(line.to_string().as_bytes());
            body.push(b'\n');
        }
        let reply = self.insist("/v1/packets", "application/x-ndjson", body.into()).await;
        let Some(reply) = reply else { return };
        self.stage.tally.add(tally::POSTED, drafts.len() as u64);
        let sent = drafts.into_iter().map(|draft| draft.sent);
        let (answers, whole) = match reply {
            Reply::Whole(200, body) => (body, true),
            Reply::Whole(status, _) => return sent.for_each(|sent| self.not_stored(sent, status)),
            Reply::Broken(body) => (body, false),
            Reply::Unsent => (Vec::new(), false),
        };
        let mut answers = answers.split_inclusive(|byte| *byte == b'\n');
        for sent in sent {
            match answers.next().filter(|line| line.ends_with(b"\n")) {
                Some(line) => self.told(sent, line),
                None if whole => {
                    self.stage.accuse(Kind::BadAnswer, || format!("no line for {sent:?}"));
                    self.not_told(sent);
                }
                None => self.not_told(sent),
            }
        }
    }

    /// Posts as soon as somebody is there; nothing when it became calm before that.
    async fn insist(&mut self, path: &str, content_type: &str, body: Bytes) -> Option<Reply> {
        while self.stage.storms() {
            match self.post.post(path, content_type, body.clone()).await {
                Reply::Unsent => self.stage.storm(AWAY).await,
                reply => return Some(reply),
            }
        }
        None
    }

    /// A whole answer for one packet.
    fn told(&mut self, sent: Sent, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let text = |key: &str| answer.get(key).and_then(Value::as_str);
        if let Some(status) = answer.get("status").and_then(Value::as_u64) {
            return self.not_stored(sent, u16::try_from(status).unwrap_or_default());
        }
        let number = answer.get("number").and_then(Value::as_u64);
        let (Some(id), Some(number), Some("stored"), Some(target)) =
            (text("id"), number, text("state"), text("target"))
        else {
            self.stage.accuse(Kind::BadAnswer, || format!("{answer} for {sent:?}"));
            return self.not_told(sent);
        };
        if target != &*sent.target || !id.ends_with(&format!("-{number}")) {
            self.stage.accuse(Kind::BadAnswer, || format!("{answer} for {sent:?}"));
        }
        self.stage.tally.one(tally::STORED);
        self.note(&json!({
            "stored": id, "number": number, "target": &*sent.target, "bytes": sent.bytes,
            "digest": format!("{:016x}", sent.digest), "sequence": sent.sequence,
        }));
        self.stored.push(Stored { id: id.to_owned(), number, sent });
    }

    fn not_told(&mut self, sent: Sent) {
        self.stage.tally.one(tally::UNKNOWN);
        self.note(&json!({
            "unknown": &*sent.target, "bytes": sent.bytes,
            "digest": format!("{:016x}", sent.digest), "sequence": sent.sequence,
        }));
        self.unknown.push(sent);
    }

    /// An answer that is not "stored". After 5xx it may still be there: the store may have failed
    /// after the packet was durable.
    fn not_stored(&mut self, sent: Sent, status: u16) {
        match status {
            429 => self.stage.tally.one(tally::REFUSED),
            500.. => self.not_told(sent),
            _ => {
                self.stage.accuse(Kind::BadAnswer, || format!("status {status} for {sent:?}"));
                self.not_told(sent);
            }
        }
    }

    fn note(&mut self, line: &Value) {
        // It is there for people; the checker has what is in memory.
        drop(writeln!(self.journal, "{line}"));
    }
}
