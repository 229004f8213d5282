//! `paquebot top` on a real terminal: a pseudo-terminal whose other side is read as a terminal reads it.
//!
//! Proved here: it shows handlers, rates and a lost connection as they happen, says when the process is
//! gone and goes on when that is back, and gives the terminal back however it ends. What is drawn is held
//! by the text files of `tests/top`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::{ALL_TO_FILE, Broker, PATIENCE, program};
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

/// A program on a terminal.
struct Terminal {
    pty: Arc<Pty>,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Child,
    modes: LocalModes,
}

impl Terminal {
    fn run(program: &str, arguments: &[&str], rows: u16, columns: u16) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(rows, columns)).unwrap();
        let modes = tcgetattr(&pty).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        // A shell is there before and after, as it is for people: when the first process of a terminal
        // ends, the system itself resets the modes.
        let script = "\"$@\"; echo \"ended with $?\"; exec cat";
        let mut command = Command::new("sh").args(["-c", script, "sh", program]).args(arguments);
        command = command.env("TERM", "xterm-256color");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PAQUEBOT_")) {
            command = command.env_remove(name);
        }
        let child = command.env_remove("NO_COLOR").spawn(pts).unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(non_zero(rows), non_zero(columns), 0)));
        let pty = Arc::new(pty);
        let (from, to) = (Arc::clone(&pty), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = (&*from).read(&mut bytes) {
                to.lock().unwrap().process(&bytes[..read]);
            }
        });
        Self { pty, screen, child, modes }
    }

    fn top(config: &Path) -> Self {
        let arguments = ["top", "--every", "100ms", "-c", config.to_str().unwrap()];
        Self::run(env!("CARGO_BIN_EXE_paquebot"), &arguments, 30, 100)
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as it should be.
    fn shows(&self, what: &str, mut so: impl FnMut(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(&self.text()) {
            assert!(Instant::now() < deadline, "never shown: {what}\n{}", self.text());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn has(&self, text: &str) {
        self.shows(text, |screen| screen.contains(text));
    }

    fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// The process that the shell started.
    fn pid(&self) -> Pid {
        let shell = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        Pid::from_raw(children.unwrap().trim().parse().unwrap()).unwrap()
    }

    /// The terminal is as it was before, and the cursor is seen; gives the exit code and the screen.
    fn ends_well(self) -> (i32, String) {
        self.shows("its end", |screen| ended_with(screen).is_some());
        let text = self.text();
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "{text}");
        assert_eq!(tcgetattr(&*self.pty).unwrap().local_modes, self.modes);
        assert!(!text.contains("paquebot top  unix:"), "the shell's screen is back: {text}");
        (ended_with(&text).unwrap(), text)
    }
}

fn ended_with(screen: &str) -> Option<i32> {
    screen.lines().find_map(|line| line.strip_prefix("ended with ")?.trim().parse().ok())
}

fn non_zero(number: u16) -> NonZeroU16 {
    NonZeroU16::new(number).unwrap()
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A number of a line that begins with this word.
fn number(screen: &str, label: &str, at: usize) -> Option<f64> {
    let line =
        screen.lines().find(|line| line.trim_start_matches(['│', ' ']).starts_with(label))?;
    let words: Vec<_> = line.split_whitespace().filter(|word| *word != "│").collect();
    words.get(at)?.replace(',', "").parse().ok()
}

#[test]
fn a_client_is_watched_through_packets_and_the_death_of_its_server() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let top = Terminal::top(&broker.path("client.toml"));
    top.has("till-1");
    top.has("● connected");
    assert!(top.screen.lock().unwrap().screen().alternate_screen());
    top.shows("nothing happens", |screen| number(screen, "accepted", 1) == Some(0.0));
    let mut connection = broker.connect();
    top.shows("packets come in, go out and are handled", |screen| {
        assert_eq!(connection.post("orders.till-17", b"one", &[]).status, 202);
        let moves = |label| number(screen, label, 1).is_some_and(|rate| rate > 0.0);
        moves("accepted") && moves("sent") && moves("handled") && screen.contains("orders.till-17")
    });
    broker.drain();
    top.shows("the rates come to rest", |screen| number(screen, "handled", 1) == Some(0.0));

    broker.kill_server();
    top.shows("the connection is lost", |screen| {
        !screen.contains("● connected") && screen.contains("last error")
    });
    broker.post("orders.till-17", "two");
    top.has("1 packet,");
    broker.start_server();
    top.has("● connected");
    top.has("0 packets, 0 B");
    top.press("q");
    assert_eq!(top.ends_well().0, 0);
}

#[test]
fn a_server_is_watched_through_a_pause_and_its_own_restart() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    broker.start_client();
    let config = broker.path("server.toml");
    let top = Terminal::top(&config);
    top.shows("the handler and its state", |screen| {
        screen
            .lines()
            .any(|line| line.contains(" all ") && line.contains("file") && line.contains("● ok"))
    });
    top.has("till-1");
    top.shows("its rate", |screen| {
        broker.post("orders.till-17", "one");
        // │ all file ● ok for … handled/s retried/s lanes │
        screen.lines().filter(|line| line.contains("● ok")).any(|line| {
            let words: Vec<_> = line.split_whitespace().rev().collect();
            words.get(3).is_some_and(|rate| rate.parse().is_ok_and(|rate: f64| rate > 0.0))
        })
    });
    let pause = program().args(["handlers", "pause", "all", "-c"]).arg(&config).output().unwrap();
    assert!(pause.status.success(), "{pause:?}");
    top.has("● paused");
    top.has("paused by paquebot handlers pause");

    top.press("p");
    top.has("the view stands still");
    let resume = program().args(["handlers", "resume", "all", "-c"]).arg(&config).output().unwrap();
    assert!(resume.status.success(), "{resume:?}");
    top.press("?");
    top.has("Ctrl-C quit");
    assert!(top.text().contains("● paused"), "it stands still: {}", top.text());
    top.press("p");
    top.has("● ok");

    broker.kill_server();
    top.has("no answer for");
    top.has("no running process at unix:");
    broker.start_server();
    top.shows("it is back", |screen| !screen.contains("no answer for"));
    top.press("\u{3}");
    assert_eq!(top.ends_well().0, 0);
}

#[test]
fn a_signal_gives_the_terminal_back_and_a_resized_one_is_drawn_anew() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    let top = Terminal::top(&broker.path("server.toml"));
    top.has("● ok");
    top.screen.lock().unwrap().screen_mut().set_size(non_zero(8), non_zero(40));
    top.pty.resize(Size::new(8, 40)).unwrap();
    top.has("too small");
    kill_process(top.pid(), Signal::TERM).unwrap();
    assert_eq!(top.ends_well().0, 0);
}

#[test]
fn no_color_is_honoured() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    let config = broker.path("server.toml");
    let coloured = |top: &Terminal| {
        let parser = top.screen.lock().unwrap();
        let cells = (0..30).flat_map(|row| (0..100).map(move |column| (row, column)));
        let mut cells = cells.filter_map(|(row, column)| parser.screen().cell(row, column));
        cells.any(|cell| cell.fgcolor() != vt100::Color::Default)
    };
    let top = Terminal::top(&config);
    top.has("● ok");
    assert!(coloured(&top));
    top.press("\u{1b}");
    assert_eq!(top.ends_well().0, 0);
    let arguments = ["NO_COLOR=1", env!("CARGO_BIN_EXE_paquebot"), "top", "-c"];
    let arguments = [&arguments[..], &[config.to_str().unwrap()]].concat();
    let top = Terminal::run("env", &arguments, 30, 100);
    top.has("● ok");
    assert!(!coloured(&top));
}

#[test]
fn without_a_terminal_or_a_process_it_says_what_to_do() {
    let broker = Broker::new(ALL_TO_FILE);
    let config = broker.path("server.toml");
    let piped = program().args(["top", "-c"]).arg(&config).output().unwrap();
    assert_eq!(piped.status.code(), Some(64));
    let said = String::from_utf8(piped.stderr).unwrap();
    assert!(said.contains("expected a terminal") && said.contains("status --json"), "{said}");
    let top = Terminal::top(&config);
    let (status, text) = top.ends_well();
    assert_eq!(status, 69, "{text}");
    assert!(text.contains("no running process at unix:"), "{text}");
    let paquebot = env!("CARGO_BIN_EXE_paquebot");
    let (status, text) = Terminal::run(paquebot, &["top", "--every", "1ms"], 30, 100).ends_well();
    assert_eq!(status, 64, "{text}");
    assert!(text.contains("expected 100 ms to 1 h, found 1ms"), "{text}");
}

#[test]
fn a_panic_gives_the_terminal_back_before_it_is_told() {
    let me = std::env::current_exe().unwrap();
    let arguments = ["--exact", "panics_on_the_screen", "--ignored", "--nocapture"];
    let top = Terminal::run(me.to_str().unwrap(), &arguments, 30, 100);
    let (status, text) = top.ends_well();
    assert_ne!(status, 0);
    assert!(text.contains("something broke while drawing"), "{text}");
}

#[test]
#[ignore = "it panics; another test runs it on a terminal of its own"]
fn panics_on_the_screen() {
    let mut screen = paquebot::top::Screen::take().unwrap();
    // This hides the cursor, too.
    screen
        .terminal()
        .draw(|frame| frame.render_widget("paquebot top  unix:", frame.area()))
        .unwrap();
    panic!("something broke while drawing");
}

#[test]
fn it_ends_when_its_terminal_is_gone() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_server();
    let (mut pty, pts) = open().unwrap();
    pty.resize(Size::new(30, 100)).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_paquebot")).args(["top", "-c"]);
    let command = command.arg(broker.path("server.toml")).env("TERM", "xterm-256color");
    let mut child = command.spawn(pts).unwrap();
    let (mut shown, mut chunk) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains("paquebot top") {
        let read = pty.read(&mut chunk).unwrap();
        shown.extend_from_slice(&chunk[..read]);
    }
    drop(pty);
    common::until("it has ended", || child.try_wait().unwrap().is_some());
}
