//! The command `top`: a running process, live on a terminal.
//!
//! It asks over the same door as `status`, and changes nothing. Drawing (`draw`) is a function of the
//! figures (`figures`), which are made of answers (`asking`); here they are brought together with keys,
//! signals and the terminal (`screen`).

mod answer;
mod asking;
mod counters;
mod draw;
mod figures;
mod screen;
mod view;
mod words;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use paquebot_actors::clock;
use ratatui::crossterm::event::{self, Event};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{self, ConfigArgs};
use crate::exit::{Code, Failure};
use crate::status;
use asking::Answer;
use figures::Figures;
pub use screen::Screen;
use view::{Key, View};

/// How long an answer may lie before it is drawn; a key is seen at once.
const GLANCE: Duration = Duration::from_millis(50);

/// How often a process may be asked.
const EVERY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

/// Whom to look at.
#[derive(Debug, clap::Args)]
pub struct TopArgs {
    /// Where the config is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How often to ask, from 100 ms to 1 h
    #[arg(long, value_parser = every, default_value = "1s", value_name = "DURATION")]
    pub every: Duration,
}

fn every(text: &str) -> Result<Duration, String> {
    let every = cli::duration(text)?;
    let wrong = || format!("expected 100 ms to 1 h, found {text}");
    EVERY.contains(&every).then_some(every).ok_or_else(wrong)
}

/// How long after its terminal the program may live.
const HANGUP_GRACE: Duration = Duration::from_millis(500);

/// Shows the process until a key or a signal ends it.
///
/// # Errors
/// When there is no terminal, no process at the beginning, or the terminal fails.
pub fn top(args: &TopArgs) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        let message = "expected a terminal on standard output, found none; `paquebot status --json` \
                       tells programs how a process is";
        return Err(Failure::new(Code::Usage, message));
    }
    let door = status::door(&args.config)?;
    let figures = Figures::new(door.to_string(), asking::ask(&door)?);
    let answers = asking::keep_asking(door, args.every);
    let stopped =
        on_signals().map_err(Failure::of(Code::Internal, "listening for signals failed"))?;
    let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let failed = || Failure::of::<io::Error>(Code::Io, "the terminal failed");
    let mut screen = Screen::take().map_err(failed())?;
    let shown = show(&mut screen, figures, View::new(colour), &answers, &stopped);
    drop(screen);
    shown.map_err(failed())
}

fn show(
    screen: &mut Screen,
    mut figures: Figures,
    mut view: View,
    answers: &Receiver<Result<Answer, String>>,
    stopped: &AtomicBool,
) -> io::Result<()> {
    let mut seen = (figures.clone(), clock::wall_ms());
    // In which second it was drawn last: ages go on without an answer, too.
    let mut drawn = None;
    while !stopped.load(Ordering::Acquire) {
        for answer in answers.try_iter() {
            match answer {
                Ok(answer) => figures.answered(answer),
                Err(why) => figures.unanswered(clock::wall_ms(), why),
            }
            drawn = None;
        }
        if !view.paused && (drawn.is_none() || drawn != Some(clock::wall_ms() / 1000)) {
            seen = (figures.clone(), clock::wall_ms());
            drawn = None;
        }
        if drawn.is_none() {
            let (figures, now_ms) = &seen;
            screen.terminal().draw(|frame| draw::draw(frame, figures, &view, *now_ms))?;
            drawn = Some(clock::wall_ms() / 1000);
        }
        if !event::poll(GLANCE)? {
            continue;
        }
        drawn = None;
        if let Event::Key(pressed) = event::read()? {
            match Key::of(pressed) {
                Some(Key::Quit) => return Ok(()),
                Some(key) => view.turn(key, draw::parts(&seen.0).len()),
                None => {}
            }
        }
    }
    Ok(())
}

/// A flag that a signal sets which ends the program.
fn on_signals() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    // They are heard from here on, before the terminal is taken.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    std::thread::spawn(move || {
        let is_gone = runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => false,
                _ = interrupt.recv() => false,
                _ = hangup.recv() => true,
            }
        });
        flag.store(true, Ordering::Release);
        if is_gone {
            // Who waits for a key on a terminal that is gone may never look up: crossterm reads its
            // end again and again.
            std::thread::sleep(HANGUP_GRACE);
            let _ended = kill_process(getpid(), Signal::KILL);
        }
    });
    Ok(stopped)
}
