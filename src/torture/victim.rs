//! A victim: a member and the blows that are planned for it.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::member::Member;
use super::offence::Kind;
use super::plan::{Blow, BlowKind};
use super::stage::Stage;
use super::tally;
use crate::exit::Failure;

/// A process and what happens to it.
#[derive(Debug)]
pub(super) struct Victim {
    /// The process.
    pub(super) member: Member,
    blows: std::vec::IntoIter<Blow>,
    /// How it is counted when it is killed.
    killed: &'static str,
    stage: Arc<Stage>,
}

impl Victim {
    /// `killed` is how its deaths are counted.
    pub(super) fn new(
        stage: &Arc<Stage>,
        member: Member,
        blows: Vec<Blow>,
        killed: &'static str,
    ) -> Self {
        Self { member, blows: blows.into_iter(), killed, stage: Arc::clone(stage) }
    }

    /// Blow follows blow while it storms; it runs when it is calm.
    pub(super) async fn suffer(mut self) -> Result<Self, Failure> {
        while self.stage.storms()
            && let Some(blow) = self.blows.next()
        {
            self.wait(blow.after).await;
            if !self.stage.storms() {
                break;
            }
            self.check_alive()?;
            self.strike(blow.kind).await;
            if !self.member.runs() {
                self.stage.storm(blow.down).await;
                self.member.start()?;
                self.stage.tally.one(tally::RESTART);
            }
        }
        while self.stage.storms() {
            self.wait(Duration::from_secs(1)).await;
        }
        self.check_alive()?;
        Ok(self)
    }

    async fn strike(&mut self, kind: BlowKind) {
        match kind {
            BlowKind::Kill => {
                self.member.kill();
                self.stage.tally.one(self.killed);
            }
            BlowKind::Stop => self.stop().await,
            BlowKind::Freeze(time) => {
                self.freeze(time).await;
                self.member.signal(Signal::CONT);
            }
            BlowKind::FreezeAndKill(time) => {
                self.freeze(time).await;
                self.member.kill();
                self.stage.tally.one(tally::KILL_FROZEN);
            }
        }
    }

    async fn freeze(&mut self, time: Duration) {
        self.stage.tally.one(tally::FREEZE);
        self.member.signal(Signal::STOP);
        self.stage.storm(time).await;
    }

    /// An ordered stop: exit code 0, and soon enough.
    pub(super) async fn stop(&mut self) {
        self.stage.tally.one(tally::STOP);
        let status = self.member.stop().await;
        // A process may be asked to stop before it listens for signals.
        let early = status.is_some_and(|status| {
            use std::os::unix::process::ExitStatusExt;
            status.signal() == Some(Signal::TERM.as_raw())
        });
        if !early && !status.is_some_and(|status| status.success()) {
            self.stage.accuse(Kind::Ended, || {
                let how = status.map_or("not within a minute".to_owned(), |how| how.to_string());
                let member = &self.member;
                format!("{}: asked to stop, ended: {how}{}", member.name, member.last_words())
            });
        }
    }

    async fn wait(&mut self, time: Duration) {
        self.stage.storm(time).await;
        self.member.measure();
    }

    /// A process that ended by itself is an offence, and is started again.
    pub(super) fn check_alive(&mut self) -> Result<(), Failure> {
        if let Some(status) = self.member.ended() {
            self.stage.accuse(Kind::Ended, || {
                let member = &self.member;
                format!("{}: ended by itself: {status}{}", member.name, member.last_words())
            });
        }
        if !self.member.runs() {
            self.member.start()?;
        }
        Ok(())
    }
}
