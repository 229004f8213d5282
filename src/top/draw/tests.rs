//! What is drawn, as text that can be read: `tests/top/*.txt`.
//!
//! After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --lib top::`, and look at the difference.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::Path;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::{Value, json};

use super::super::asking::Answer;
use super::super::counters::{Counters, Work};
use super::super::figures::Figures;
use super::super::view::{Key, View};
use super::draw;

/// 2026-11-23T12:00:00Z
const NOON_MS: u64 = 1_795_435_200_000;

fn answer(status: &Value) -> Answer {
    let status = serde_json::from_value(status.clone()).unwrap();
    let at = paquebot_actors::clock::instant();
    Answer { at, status, counters: Counters::default() }
}

fn client() -> Value {
    let lane = |target: &str, packets: u64, dead: u64| {
        json!({
            "target": target, "pending_packets": packets, "pending_bytes": packets * 256,
            "dead_lettered": dead,
        })
    };
    json!({
        "id": "till-1",
        "connection": {
            "state": "connected", "server": "broker.example:7035",
            "since": "2026-11-23T11:56:48.000Z", "last_error": "connection reset by peer",
        },
        "pending_packets": 12_345, "pending_bytes": 3_160_320,
        "spool_file_bytes": 367_001_600, "spool_max_bytes": 1_073_741_824, "failed": null,
        "lanes": [
            lane("orders.till-17", 12_000, 0), lane("alarms.hall-3", 300, 2),
            lane("temperatures.freezer", 45, 0), lane("heartbeat", 0, 0),
        ],
        "lanes_total": 1_204,
    })
}

fn server() -> Value {
    let client = |name: &str| {
        json!({
            "client": name, "address": "192.168.17.4:51234", "program": "paquebot 0.1.0",
            "since": "2026-11-20T10:00:00.000Z",
        })
    };
    let handler = |name: &str, kind: &str, state: &str, lanes: Value, error: Value| {
        json!({
            "name": name, "kind": kind, "state": state, "since": "2026-11-23T10:59:00.000Z",
            "waiting_lanes": lanes, "last_error": error,
        })
    };
    let mut paused = handler("archive", "file", "paused", json!(7), Value::Null);
    paused["paused_by"] = json!("paquebot handlers pause, user id 0");
    json!({
        "listening": "0.0.0.0:7035",
        "clients": [client("till-1"), client("till-2")],
        "handlers": [
            handler("orders", "http", "ok", json!(0), Value::Null),
            handler("alarms", "exec", "failing", Value::Null, json!("exit code 1: no printer")),
            paused,
        ],
        "dead_letters": 3, "dead_letters_bytes": 1_234, "failed": null,
    })
}

/// The figures after a minute of answers, one a second.
fn figures(status: &Value) -> Figures {
    let first = answer(status);
    let (start, mut counters) = (first.at, first.counters.clone());
    let mut figures = Figures::new("unix:/var/lib/paquebot/admin.sock".into(), first);
    for second in 1..=60_u64 {
        counters.client.accepted += 1_000 + 20 * second;
        counters.client.sent += if second > 50 { 0 } else { 1_100 };
        counters.client.handled += 1_000;
        counters.client.resent = 12;
        for name in ["orders", "alarms", "archive"] {
            let work = counters.handlers.entry(name.to_owned()).or_insert_with(Work::default);
            work.handled += if name == "orders" { 12_345 } else { 0 };
            work.retried += u64::from(name == "alarms");
        }
        let at = start + std::time::Duration::from_secs(second);
        let status = serde_json::from_value(status.clone()).unwrap();
        figures.answered(Answer { at, status, counters: counters.clone() });
    }
    figures
}

fn drawn(figures: &Figures, view: &View, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, figures, view, NOON_MS)).unwrap();
    terminal
}

fn text(terminal: &Terminal<TestBackend>) -> String {
    let buffer = terminal.backend().buffer();
    let line = |row: &[ratatui::buffer::Cell]| {
        let text: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned() + "\n"
    };
    buffer.content.chunks(usize::from(buffer.area.width)).map(line).collect()
}

fn is_as_agreed(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/top/{name}.txt"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, now).unwrap();
    }
    let agreed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(agreed == now, "UPDATE_SNAPSHOTS=1 writes it:\n--- agreed\n{agreed}\n+++ now\n{now}");
}

fn both() -> Value {
    json!({ "version": "0.1.0", "client": client(), "server": server() })
}

#[test]
fn a_process_with_both_parts_is_shown_in_the_order_of_a_packets_life() {
    let figures = figures(&both());
    let drawn = drawn(&figures, &View::new(false), 100, 36);
    is_as_agreed("both-100x36", &text(&drawn));
}

#[test]
fn a_client_and_a_server_each_fit_the_usual_terminal() {
    for (name, part) in [("client", client()), ("server", server())] {
        let mut status = json!({ "version": "0.1.0" });
        status[name] = part;
        let drawn = drawn(&figures(&status), &View::new(false), 80, 24);
        is_as_agreed(&format!("{name}-80x24"), &text(&drawn));
    }
}

#[test]
fn on_a_small_screen_a_key_brings_the_next_part() {
    let figures = figures(&both());
    let mut view = View::new(false);
    let all = super::parts(&figures).len();
    let first = text(&drawn(&figures, &view, 80, 14));
    assert!(first.contains("connection") && first.contains("[client]"), "{first}");
    assert!(!first.contains("handled/s"), "{first}");
    view.turn(Key::Next, all);
    view.turn(Key::Next, all);
    let third = text(&drawn(&figures, &view, 80, 14));
    assert!(third.contains("handled/s") && third.contains("[handlers]"), "{third}");
    assert!(!third.contains("connection"), "{third}");
    is_as_agreed("handlers-80x14", &third);
    view.turn(Key::Previous, all);
    assert!(text(&drawn(&figures, &view, 80, 14)).contains("busiest lanes"));
}

#[test]
fn a_terminal_that_is_too_small_gets_a_sentence() {
    let figures = figures(&both());
    for (width, height) in [(59, 24), (80, 11), (30, 3)] {
        let text = text(&drawn(&figures, &View::new(false), width, height));
        assert!(text.contains("too small") && text.contains("60×12"), "{text}");
    }
    for (width, height) in [(1, 1), (0, 0), (5, 2)] {
        drawn(&figures, &View::new(false), width, height);
    }
}

#[test]
fn every_size_can_be_drawn() {
    let mut figures = figures(&both());
    for width in (60..220).step_by(7) {
        for height in 12..60 {
            let mut view = View::new(true);
            view.selected = usize::from(width + height) % 4;
            view.help = height % 2 == 0;
            drawn(&figures, &view, width, height);
        }
    }
    figures.status = super::super::answer::Status::default();
    drawn(&figures, &View::new(true), 80, 24);
}

#[test]
fn a_process_that_is_gone_is_said_to_be() {
    let mut figures = figures(&both());
    figures.unanswered(NOON_MS - 65_000, "no running process at unix:/x: refused".into());
    let text = text(&drawn(&figures, &View::new(false), 100, 36));
    let said = "no answer for 1 min 5 s; asking again: no running process at unix:/x: refused";
    assert!(text.contains(said), "{text}");
    assert!(text.contains("– /s") && text.contains("till-1"), "{text}");
}

#[test]
fn a_view_that_stands_still_says_so() {
    let mut view = View::new(false);
    view.turn(Key::Pause, 4);
    let text = text(&drawn(&figures(&both()), &view, 100, 36));
    assert!(text.contains("the view stands still; p lets it go on"), "{text}");
}

#[test]
fn states_have_colours_and_words_and_no_colour_when_none_is_wanted() {
    let figures = figures(&both());
    let colours = |view: &View| {
        let terminal = drawn(&figures, view, 100, 36);
        let cells = &terminal.backend().buffer().content;
        let dots = cells.iter().filter(|cell| cell.symbol() == "●").map(|cell| cell.fg);
        let all = cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset);
        (dots.collect::<Vec<_>>(), all)
    };
    let (dots, plain) = colours(&View::new(true));
    assert_eq!(dots, [Color::Green, Color::Green, Color::Red, Color::Yellow]);
    assert!(!plain);
    assert!(colours(&View::new(false)).1);
}

#[test]
fn what_a_destination_answers_cannot_move_the_cursor() {
    let mut status = both();
    status["server"]["handlers"][1]["last_error"] = json!("\u{1b}[2J\u{1b}]0;owned\u{7}\r\nbad");
    let text = text(&drawn(&figures(&status), &View::new(false), 100, 36));
    assert!(text.contains("owned") && !text.contains(['\u{1b}', '\u{7}', '\r']), "{text}");
}
