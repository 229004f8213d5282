//! What a config promises, in plain words, for `paquebot check`.
//!
//! Decides how each route's guarantee is told: what "stored" means at each source, what "handled"
//! means at each handler, and what limits hold. Never decides the guarantees: they are the rules
//! R1–R12 of the design, of which R1, R3, R4, R5 and R9 are told here.

mod source;

use std::fmt::Write as _;

use crate::config::address::Reach;
use crate::config::client::Client;
use crate::config::dead_letters::{DeadLetters, WhenDeadLettersFull};
use crate::config::destination::Destination;
use crate::config::duration::duration_in_words;
use crate::config::handler::{FileFormat, Handler, HandlerKind, LogLevel};
use crate::config::policy::Policy;
use crate::config::program::{Program, ProgramMode};
use crate::config::retry::RetryPolicy;
use crate::config::rotate::Rotate;
use crate::config::server::{Server, UnknownTarget};
use crate::config::size::size_in_words;
use crate::config::spool::{Spool, WhenFull};
use crate::config::{Admin, Config, Metrics, Problems};
use paquebot_protocol::outbox::Priority;

/// Tells what a valid config does, for people. `warnings` are counted; show them beside it.
#[must_use]
pub fn report(config: &Config, warnings: &Problems) -> String {
    let mut report = Report::default();
    let beside = match warnings.len() {
        0 => String::new(),
        1 => ", with 1 warning".to_owned(),
        more => format!(", with {more} warnings"),
    };
    report.line(0, &format!("{} is valid{beside}", config.path.display()));
    if let Some(client) = &config.client {
        tell_client(&mut report, client);
    }
    if let Some(server) = &config.server {
        tell_server(&mut report, server);
    }
    tell_admin(&mut report, config.admin.as_ref(), config.metrics);
    report.text
}

/// Lines of text, the deeper the more detailed.
#[derive(Debug, Default)]
struct Report {
    text: String,
}

impl Report {
    fn title(&mut self, text: &str) {
        self.text.push('\n');
        self.line(0, text);
    }

    fn line(&mut self, depth: usize, text: &str) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "{:indent$}{text}", "", indent = depth * 2);
    }
}

fn tell_client(report: &mut Report, client: &Client) {
    report.title(&format!(
        "client {}, which keeps its spool in {}",
        client.id,
        client.data_dir.display()
    ));
    if client.sources.is_empty() {
        report.line(1, "no source: packets only come from the command `send`");
    }
    for source in &client.sources {
        source::tell(report, source);
    }
    let Spool { max_bytes, when_full, max_lanes, retire_after } = client.spool;
    report.line(1, "packets are kept: until acked, which means handled or a dead letter");
    let (full, most) = (told_when_full(when_full), size_in_words(max_bytes));
    report
        .line(1, &format!("spool full ({most} of real file bytes, or {max_lanes} lanes): {full}"));
    let retire_after = duration_in_words(retire_after);
    report.line(
        1,
        &format!(
            "a target's lane that holds nothing: ends after {retire_after} without a packet, or \
             earlier when a new target needs one"
        ),
    );
    report.line(1, "one target: at most half of the spool while others hold packets");
    for policy in &client.policies {
        tell_policy(report, policy);
    }
    if client.separate_ledgers {
        report.line(
            1,
            "servers of several ledgers: at least once, without an order, over a change of ledger",
        );
    }
    let packet = size_in_words(client.max_packet_bytes);
    report.line(1, &format!("packet larger than {packet}: refused before it is stored"));
    let servers: Vec<_> = client.servers.iter().map(ToString::to_string).collect();
    report.line(1, &format!("sent to: {}, tried in turn, without TLS", servers.join(", ")));
    let (ping, silence) = (duration_in_words(client.ping), duration_in_words(client.silence));
    report.line(1, &format!("silent peer: asked after {ping}, dead after {silence}"));
    report.line(1, &format!("connection lost: {}", told_tries(client.reconnect)));
}

fn tell_policy(report: &mut Report, policy: &Policy) {
    let targets: Vec<_> = policy.targets.iter().map(ToString::to_string).collect();
    report.line(1, &format!("policy for {}:", targets.join(", ")));
    match policy.priority {
        Priority::High => report.line(2, "sent before all others; these have one turn in 16"),
        Priority::Normal => {}
        Priority::Low => report.line(2, "sent when others have nothing to send, or one turn in 16"),
    }
    if let Some(ttl) = policy.ttl {
        let ttl = duration_in_words(ttl);
        report
            .line(2, &format!("not sent after {ttl}: counted as expired, and the server is told"));
    }
    if let Some(when_full) = policy.when_full {
        report.line(2, &format!("no room: {}", told_when_full(when_full)));
    }
    if let Some(max_bytes) = policy.max_bytes {
        report.line(2, &format!("one target: at most {}", size_in_words(max_bytes)));
    }
}

fn tell_server(report: &mut Report, server: &Server) {
    let (listen, folder) = (&server.listen, server.data_dir.display());
    report.title(&format!("server on {listen}, which keeps its ledger in {folder}"));
    for handler in &server.handlers {
        tell_handler(report, handler);
    }
    let unknown = match server.unknown_target {
        UnknownTarget::DeadLetter => {
            "a dead letter, kept in the ledger until someone replays or discards it"
        }
        UnknownTarget::Hold => "held in its client's spool until there is a handler for it",
    };
    report.line(1, &format!("any other target: {unknown}"));
    tell_dead_letters(report, server.dead_letters);
    let packet = size_in_words(server.max_packet_bytes);
    report.line(
        1,
        &format!(
            "packet larger than {packet}: not taken; its lane waits at its client, others go on"
        ),
    );
    let (connections, memory) = (server.max_connections, size_in_words(server.memory));
    report.line(1, &format!("limits: {connections} connections, {memory} of memory for packets"));
    report.line(
        1,
        &format!(
            "clients: {}",
            match listen.reach() {
                Reach::Machine => "from this machine only",
                Reach::Network => "ANYONE on the network (insecure): no TLS, no authentication",
            }
        ),
    );
}

fn tell_dead_letters(report: &mut Report, kept: DeadLetters) {
    let most = size_in_words(kept.max_bytes);
    let full = match kept.when_full {
        WhenDeadLettersFull::Pause => "its lanes that need another wait, others go on",
        WhenDeadLettersFull::DropOldest => "ITS OLDEST ARE DROPPED, and counted",
    };
    let age = kept.max_age.map_or_else(
        || "until someone replays or discards them".to_owned(),
        |age| format!("for {} after their last try, THEN DROPPED", duration_in_words(age)),
    );
    report.line(1, &format!("dead letters are kept {age}; a client's {most} used up: {full}"));
}

fn tell_handler(report: &mut Report, handler: &Handler) {
    let targets: Vec<_> = handler.targets.iter().map(ToString::to_string).collect();
    let kind = match &handler.kind {
        HandlerKind::File { path, .. } => format!("file {}", path.as_str()),
        HandlerKind::Http(destination) => format!("http {}", destination.url),
        HandlerKind::Exec(Program { program, arguments, .. }) => {
            let words = std::iter::once(program.display().to_string());
            let words = words.chain(arguments.iter().map(|word| format!("{word:?}")));
            format!("exec {}", words.collect::<Vec<_>>().join(" "))
        }
        HandlerKind::Log { .. } => "log".to_owned(),
        HandlerKind::Discard => "discard".to_owned(),
    };
    report.line(1, &format!("{} -> handler {}: {kind}", targets.join(", "), handler.name));
    report.line(
        2,
        match handler.kind {
            HandlerKind::File { format: FileFormat::Ndjson, .. } => {
                "exactly once: each packet's line is in the file once, in order per lane, through \
             crashes of both sides"
            }
            HandlerKind::File { format: FileFormat::Raw, .. } => {
                "exactly once: each packet's data is in the file once, in order per lane, through \
             crashes of both sides"
            }
            HandlerKind::Http(_) => {
                "at least once, with its id, in order per lane: after a crash or a lost answer a \
             packet is sent again"
            }
            HandlerKind::Exec(_) => {
                "at least once, with its id, in order per lane: after a crash or a lost answer a \
             packet is given to the program again"
            }
            HandlerKind::Log { .. } => {
                "at least once: handled means written to the server's log; NOTHING ELSE IS KEPT"
            }
            HandlerKind::Discard => "handled means received: nothing is kept",
        },
    );
    match &handler.kind {
        HandlerKind::File { rotate: Some(rotate), .. } => {
            report.line(2, &format!("rotated: {}", told_rotate(*rotate)));
        }
        HandlerKind::Http(destination) => tell_destination(report, destination),
        HandlerKind::Exec(program) => tell_program(report, program),
        HandlerKind::Log { level } => report.line(2, &told_level(*level)),
        _ => {}
    }
    if !matches!(handler.kind, HandlerKind::Log { .. } | HandlerKind::Discard) {
        report.line(2, &format!("not handled: {}", told_tries(handler.retry)));
    }
}

fn tell_destination(report: &mut Report, destination: &Destination) {
    let Destination { rejected_statuses, timeout, concurrency, .. } = destination;
    let timeout = duration_in_words(*timeout);
    report.line(2, "handled means answered with 2xx; redirects are not followed; without TLS");
    report.line(
        2,
        &format!(
            "at once: {concurrency} packets, each of another lane; no answer for {timeout}: not \
             handled"
        ),
    );
    let statuses: Vec<_> = rejected_statuses.iter().map(ToString::to_string).collect();
    let rejected = match statuses.is_empty() {
        true => "none, whatever the answer".to_owned(),
        false => format!("answered with {}: a dead letter", statuses.join(", ")),
    };
    report.line(2, &format!("rejected: {rejected}"));
}

fn tell_program(report: &mut Report, program: &Program) {
    let Program { mode, timeout, concurrency, .. } = program;
    let timeout = duration_in_words(*timeout);
    report.line(
        2,
        match mode {
            ProgramMode::Packet => {
                "started for each packet: handled means exit code 0, 65 means rejected: a dead letter"
            }
            ProgramMode::Lines => {
                "goes on running: handled means that it answers so, \"rejected\" means a dead letter"
            }
        },
    );
    let too_long = match mode {
        ProgramMode::Packet => "killed with all that it has started, not handled",
        ProgramMode::Lines => "killed with all that it has started, what it had is not handled",
    };
    let at_once = format!("at once: {concurrency} packets, each of another lane");
    report.line(2, &format!("{at_once}; not done within {timeout}: {too_long}"));
}

fn told_level(level: LogLevel) -> String {
    let level = match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    };
    format!("at level {level}, if PAQUEBOT_LOG shows that; of the data 4 KiB at most, as text")
}

fn tell_admin(report: &mut Report, admin: Option<&Admin>, metrics: Metrics) {
    report.title("admin");
    report.line(1, "commands: through admin.sock in each data_dir, by its owner only");
    if let Some(Admin { listen }) = admin {
        report.line(
            1,
            &match listen.reach() {
                Reach::Machine => format!("http on {listen}: everything, from this machine only"),
                Reach::Network => format!(
                    "http on {listen}: /metrics, /healthz and /readyz, FOR ANYONE on the network; \
                 the rest is only served on admin.sock"
                ),
            },
        );
    }
    let most = metrics.max_targets;
    report.line(1, &format!("metrics: {most} targets, further ones count under _other"));
}

fn told_when_full(when_full: WhenFull) -> &'static str {
    match when_full {
        WhenFull::Reject => "new packets are refused, those stored stay",
        WhenFull::Block => "senders wait until there is room, those stored stay",
        WhenFull::DropOldest => {
            "the oldest packets make way, counted as evicted, and the server is told"
        }
    }
}

fn told_rotate(rotate: Rotate) -> String {
    let size = rotate.size.map(|size| format!("before it passes {}", size_in_words(size)));
    let every = rotate
        .every
        .map(|every| format!("when its first packet is {} old", duration_in_words(every)));
    let when = size.into_iter().chain(every).collect::<Vec<_>>().join(" or ");
    let keep = match rotate.keep {
        Some(keep) => format!("the last {keep} stay, OLDER ONES ARE REMOVED"),
        None => "all stay".to_owned(),
    };
    let compress = if rotate.compress { ", compressed with gzip" } else { "" };
    format!("{when}; {keep}{compress}")
}

fn told_tries(policy: RetryPolicy) -> String {
    let (initial, max) = (duration_in_words(policy.initial), duration_in_words(policy.max));
    let end = match policy.give_up_after {
        None => "until it works".to_owned(),
        Some(after) => {
            let after = duration_in_words(after);
            format!("for {after} since its first failure, then it is a dead letter")
        }
    };
    format!("tried again, after at most {initial} at first and {max} later, {end}")
}
