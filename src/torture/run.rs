//! One run: storm and calm in turn, then the ordered stop and the judgement.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paquebot_actors::clock;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::account::{self, Accounts, Standing};
use super::check;
use super::evidence::Evidence;
use super::fleet::Fleet;
use super::member::Member;
use super::offence::Kind;
use super::output;
use super::plan::Plan;
use super::receiver::Receiver;
use super::report::Report;
use super::stage::{Phase, Stage};
use super::tally;
use super::victim::Victim;
use crate::cli::TortureArgs;
use crate::door::Door;
use crate::exit::{Code, Failure};
use crate::print::remark;

/// A storm lasts no longer; then everything has to drain, and the next one begins.
const STORM: u64 = 120;

/// How long draining may take (R11): back-off, silence and time-outs are seconds in these configs.
const DRAIN: Duration = Duration::from_secs(120);

/// How often a backlog is looked at.
const POLL: Duration = Duration::from_millis(100);

/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(10);

/// Beyond this a process is taken to grow without bound: a server's budget is 256 MiB.
const RSS_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Runs it all.
pub(super) async fn run(seed: u64, args: &TortureArgs, dir: &Path) -> Result<Report, Failure> {
    let began = clock::instant();
    let stage = Stage::new(seed);
    let processes = usize::try_from(args.clients).unwrap_or_default() + 1;
    let plan = Plan::draw(seed, args.seconds, processes);
    let receiver = Receiver::start(&stage, &plan).await?;
    let mut fleet = Fleet::prepare(&stage, &plan, dir, &receiver).await?;
    for victim in &mut fleet.victims {
        victim.member.start()?;
    }
    let mut drained_in = Some(Duration::ZERO);
    let mut left = args.seconds;
    while left > 0
        && let Some(longest) = drained_in
    {
        let seconds = left.min(STORM);
        left -= seconds;
        fleet = storm(&stage, fleet, Duration::from_secs(seconds)).await?;
        drained_in = drain(&stage, &mut fleet).await?.map(|took| took.max(longest));
    }
    let accounts = close(&stage, &mut fleet).await;
    let evidence = gather(&mut fleet, &receiver, drained_in.is_some())?;
    let mut offences = check::check(&evidence);
    offences.extend(stage.take_offences());
    if evidence.complete {
        accounts.check(&evidence, &mut offences);
    }
    let (handled, dead) = accounts.totals();
    let peak = |members: &[Victim]| {
        members.iter().map(|victim| victim.member.rss_peak_bytes).max().unwrap_or_default()
    };
    for Victim { member, .. } in &fleet.victims {
        if member.rss_peak_bytes > RSS_BYTES_MAX {
            let (name, bytes) = (&member.name, member.rss_peak_bytes);
            offences.add(Kind::Grown, || format!("{name}: {bytes} bytes of memory at once"));
        }
    }
    let (server, clients) = fleet.victims.split_at(1);
    let report = Report {
        seed,
        seconds: clock::instant().duration_since(began).as_secs(),
        handled,
        dead,
        expired: accounts.of_clients("expired"),
        evicted: accounts.of_clients("evicted"),
        lanes_retired: accounts.lanes_retired,
        drain_max: drained_in,
        server_rss_peak_bytes: peak(server),
        client_rss_peak_bytes: peak(clients),
        stage,
        offences,
    };
    Ok(report)
}

/// Faults and writers, for so long.
async fn storm(stage: &Arc<Stage>, fleet: Fleet, time: Duration) -> Result<Fleet, Failure> {
    let Fleet { victims, writers, server_dir, clients } = fleet;
    stage.turn(Phase::Storm);
    let victims: Vec<_> = victims.into_iter().map(|it| tokio::spawn(it.suffer())).collect();
    let writers: Vec<_> = writers.into_iter().map(|it| tokio::spawn(it.write())).collect();
    let mut passed = Duration::ZERO;
    while passed < time {
        let step = PROGRESS.min(time - passed);
        sleep(step).await;
        passed += step;
        tell(stage);
    }
    stage.turn(Phase::Calm);
    let victims: Result<Vec<_>, _> = joined(victims).await?.into_iter().collect();
    Ok(Fleet { victims: victims?, writers: joined(writers).await?, server_dir, clients })
}

async fn joined<T>(tasks: Vec<JoinHandle<T>>) -> Result<Vec<T>, Failure> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        done.push(task.await.map_err(Failure::of(Code::Internal, "a part of the torture"))?);
    }
    Ok(done)
}

fn tell(stage: &Stage) {
    let of = |name| stage.tally.of(name);
    remark(&format!(
        "torture: {:>4} s  {} stored, {} unknown, {} refused, {} kills, {} stops, {} freezes, \
         {} connections",
        stage.elapsed().as_secs(),
        of(tally::STORED),
        of(tally::UNKNOWN),
        of(tally::REFUSED),
        stage.tally.group("kills"),
        of(tally::STOP),
        of(tally::FREEZE),
        of(tally::CONNECTIONS),
    ));
}

/// Waits until nothing is pending anywhere, without any new input; how long that took, and nothing
/// when it did not happen.
async fn drain(stage: &Stage, fleet: &mut Fleet) -> Result<Option<Duration>, Failure> {
    let began = clock::instant();
    loop {
        let mut waiting = Vec::new();
        for victim in &mut fleet.victims {
            victim.check_alive()?;
            victim.member.measure();
        }
        for victim in fleet.victims.iter().skip(1) {
            let name = &victim.member.name;
            let why = match standing(&victim.member).await {
                Ok(Standing { pending: 0, .. }) => continue,
                Ok(standing) => format!("{name}: {:#}", standing.all),
                Err(failure) => format!("{name}: {}", failure.message),
            };
            waiting.push(why);
        }
        let took = clock::instant().duration_since(began);
        if waiting.is_empty() {
            remark(&format!("torture: drained in {:.1} s", took.as_secs_f64()));
            return Ok(Some(took));
        }
        if took > DRAIN {
            for client in waiting {
                stage.accuse(Kind::Stuck, || format!("after {took:?} without faults: {client}"));
            }
            return Ok(None);
        }
        sleep(POLL).await;
    }
}

async fn standing(member: &Member) -> Result<Standing, Failure> {
    let door = member.door();
    let asked = spawn_blocking(move || account::standing(&door)).await;
    asked.map_err(Failure::of(Code::Internal, "asking"))?
}

/// Asks everybody for their totals, and stops them in order: clients first.
async fn close(stage: &Arc<Stage>, fleet: &mut Fleet) -> Accounts {
    let doors: Vec<(String, Door)> = fleet
        .victims
        .iter()
        .map(|victim| (victim.member.name.clone(), victim.member.door()))
        .collect();
    for victim in fleet.victims.iter().skip(1) {
        if let Ok(Standing { replaces: Some(before), .. }) = standing(&victim.member).await {
            let name = &victim.member.name;
            stage.accuse(Kind::Renamed, || format!("{name}: its spool was {before}"));
        }
    }
    let ask = move || {
        let (mut accounts, mut failures) = (Accounts::default(), Vec::new());
        for (at, (name, door)) in doors.iter().enumerate() {
            let asked = match at {
                0 => accounts.ask_server(door),
                _ => accounts.ask_client(name, door),
            };
            failures.extend(asked.err().map(|failure| format!("{name}: {}", failure.message)));
        }
        (accounts, failures)
    };
    let (accounts, failures) = spawn_blocking(ask).await.unwrap_or_default();
    for failure in failures {
        stage.accuse(Kind::Unaccounted, || failure);
    }
    for victim in fleet.victims.iter_mut().rev() {
        if let Err(failure) = victim.check_alive() {
            stage.accuse(Kind::Ended, || failure.message);
        }
        victim.member.measure();
        victim.stop().await;
    }
    accounts
}

fn gather(fleet: &mut Fleet, receiver: &Receiver, complete: bool) -> Result<Evidence, Failure> {
    let mut evidence = Evidence {
        complete,
        files: output::files(&fleet.server_dir)?,
        dead: output::dead_letters(&fleet.server_dir)?,
        visits: receiver.visits(),
        ..Evidence::default()
    };
    for writer in &mut fleet.writers {
        evidence.stored.append(&mut writer.stored);
        evidence.unknown.append(&mut writer.unknown);
    }
    Ok(evidence)
}
