//! What the network of a [`World`] does: frames that arrive, sessions that begin and end, silence.

use std::collections::VecDeque;

use bytes::Bytes;
use paquebot_protocol::frame::{Hello, Limits, Refused, RefusedCode, VERSION, Welcome};
use paquebot_protocol::heartbeat::Beat;
use paquebot_protocol::lease::SessionId;
use paquebot_protocol::{Control, Frame, LaneKey, LedgerId, Millis, Number, SpoolId};

use crate::common::ledger::Fence;
use crate::common::spool::Spool;
use crate::link::{Link, decoded};
use crate::world::World;

impl World {
    pub(super) fn link(&mut self, id: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    /// A newer session of the same spool is there, or a later opening of it is on record.
    pub(super) fn is_superseded(&self, link: &Link) -> bool {
        let Some((session, fence)) =
            link.session.and_then(|id| self.server.fence(id).map(|fence| (id, fence)))
        else {
            return false;
        };
        let mut newer =
            self.links.iter().filter_map(|link| link.session).filter(|id| *id > session);
        // The newer session may have gone again; that it was there ends the older one all the same.
        !self.server.ledger.is_latest(fence)
            || newer.any(|id| self.server.fence(id).is_some_and(|other| other.spool == fence.spool))
    }

    pub(super) fn arrive_up(&mut self, id: u64, count: usize) {
        let heard = if self.options.has_heartbeat { self.now } else { Millis(0) };
        let Some(link) = self.link(id).filter(|link| link.server_is_there) else { return };
        link.server_beat.heard(heard);
        let count = count.min(link.to_server.len());
        let frames: Vec<Frame> = link.to_server.drain(..count).map(|body| decoded(&body)).collect();
        let mut rest = VecDeque::from(frames);
        if let Some(Frame::Control(Control::Hello(_))) = rest.front()
            && let Some(Frame::Control(Control::Hello(hello))) = rest.pop_front()
        {
            self.welcome(id, &hello);
        }
        if let Some(session) = self.link(id).and_then(|link| link.session) {
            match self.server.hear(session, rest.into()) {
                Ok(answers) => self.say(session, answers),
                Err(violation) => {
                    let is_honest = self.link(id).is_some_and(|link| !link.is_tampered_with);
                    assert!(!is_honest, "an honest client, and {violation:?}");
                    self.server_leaves(id);
                }
            }
        }
    }

    /// Only what comes after the welcome: before it there is nothing to lose.
    pub(super) fn tamper(&mut self, id: u64, change: impl FnOnce(&mut VecDeque<Bytes>)) {
        if let Some(link) = self.link(id).filter(|link| link.session.is_some()) {
            link.is_tampered_with = true;
            change(&mut link.to_server);
        }
    }

    /// Only where the ledger knows the history: after a jump it goes on from whatever comes.
    pub(super) fn forge(&mut self, id: u64) {
        let session = self.link(id).and_then(|link| link.session);
        let Some(fence) = session.and_then(|session| self.server.fence(session)) else { return };
        let lane = self.link(id).and_then(|link| link.first_run());
        let row =
            lane.and_then(|lane| self.server.ledger.row(LaneKey { spool: fence.spool, lane }));
        if row.is_some_and(|row| row.at == Number::NONE || row.chain.is_some())
            && let Some(link) = self.link(id)
        {
            link.is_tampered_with = true;
            link.forge();
        }
    }

    pub(super) fn welcome(&mut self, id: u64, hello: &Hello) {
        let fence = Fence { spool: hello.spool, opened: hello.opened, nonce: hello.nonce };
        let session = self.server.welcome(fence);
        let ledger = LedgerId([self.ledger_id; 16]);
        let Some(link) = self.link(id) else { return };
        link.session = session;
        let answer = if session.is_some() {
            welcome(ledger)
        } else {
            let (code, message) = (RefusedCode::Rekey, "another opening is on record".to_owned());
            let retry_after_ms = None;
            Control::Refused(Refused { code, message, retry_after_ms })
        };
        link.send_down([Frame::Control(answer)]);
        if session.is_none() {
            link.server_is_there = false;
        }
    }

    pub(super) fn arrive_down(&mut self, id: u64, count: usize) {
        let now = self.now;
        let heard = if self.options.has_heartbeat { self.now } else { Millis(0) };
        let Some(link) = self.link(id).filter(|link| link.client_is_there) else { return };
        link.client_beat.heard(heard);
        let at = link.machine;
        let count = count.min(link.to_client.len());
        let bodies: Vec<_> = link.to_client.drain(..count).collect();
        for body in bodies {
            if self.machines[at].link != Some(id) {
                return;
            }
            let Frame::Control(control) = decoded(&body) else { panic!("a run from the server") };
            match control {
                Control::Welcome(_) => {
                    let machine = &mut self.machines[at];
                    (machine.welcomed, machine.is_full) = (true, false);
                    machine.backoff.reset();
                    machine.client.outbox.connected(self.options.budget_bytes);
                }
                Control::Refused(refused) if refused.code == RefusedCode::Rekey => {
                    self.rekey(at, false);
                }
                Control::Refused(_) => self.lose(at),
                Control::Ping(number) => {
                    let pong = Frame::Control(Control::Pong(number));
                    self.link(id).into_iter().for_each(|link| link.send_up([pong.clone()]));
                }
                other => self.machines[at].client.hear(other, now),
            }
        }
        self.act(at);
    }

    pub(super) fn dial(&mut self, at: usize) {
        self.links_ever += 1;
        let id = self.links_ever;
        let machine = &mut self.machines[at];
        let Spool { id: spool, opened, nonce, .. } = machine.client.spool;
        (machine.link, machine.welcomed) = (Some(id), false);
        let start = if self.options.has_heartbeat { self.now } else { Millis(0) };
        let mut link = Link::new(id, at, start);
        link.send_up([Frame::Control(hello(spool, opened, nonce))]);
        self.links.push(link);
    }

    /// The client gives its link up, and dials again later.
    pub(super) fn lose(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        let id = machine.link.take();
        machine.client.disconnected();
        // Without heartbeats nothing depends on when exactly something happens.
        if self.options.has_heartbeat {
            self.nonces += 1;
            machine.dial_at = self.now.after(machine.backoff.next(self.nonces.wrapping_mul(7919)));
        }
        if let Some(link) = id.and_then(|id| self.link(id)) {
            link.client_is_there = false;
            link.to_client.clear();
        }
        self.act(at);
    }

    pub(super) fn server_leaves(&mut self, id: u64) {
        let Some(link) = self.link(id) else { return };
        link.server_is_there = false;
        link.to_server.clear();
        if let Some(session) = link.session {
            self.server.close(session);
        }
    }

    pub(super) fn say(&mut self, session: SessionId, answers: Vec<Control>) {
        let refused = answers.iter().any(|answer| matches!(answer, Control::Refused(_)));
        let link = self.links.iter_mut().find(|link| link.session == Some(session));
        if let Some(link) = link.filter(|link| link.server_is_there) {
            link.send_down(answers.into_iter().map(Frame::Control));
            if refused {
                link.server_is_there = false;
            }
        }
    }

    pub(super) fn wait(&mut self, length: Millis) {
        self.now = self.now.after(length);
        let now = self.now;
        let (mut lost, mut left) = (Vec::new(), Vec::new());
        for link in self.links.iter_mut().filter(|_| self.options.has_heartbeat) {
            let beat = link.client_is_there.then(|| link.client_beat.poll(now)).flatten();
            match beat {
                Some(Beat::Ping) => link.send_up(ping(link)),
                Some(Beat::Dead) => lost.push(link.machine),
                None => {}
            }
            let beat = link.server_is_there.then(|| link.server_beat.poll(now)).flatten();
            match beat {
                Some(Beat::Ping) if link.session.is_some() => {
                    link.send_down([Frame::Control(Control::Ping(2))]);
                }
                Some(Beat::Dead) => left.push(link.id),
                _ => {}
            }
        }
        lost.into_iter().for_each(|at| self.lose(at));
        left.into_iter().for_each(|id| self.server_leaves(id));
        for at in 0..self.machines.len() {
            self.act(at);
        }
    }
}

fn ping(link: &Link) -> Option<Frame> {
    // Before its welcome a client says nothing.
    link.session.map(|_| Frame::Control(Control::Ping(1)))
}

fn hello(spool: SpoolId, opened: u64, nonce: u64) -> Control {
    Control::Hello(Hello {
        version: VERSION,
        spool,
        replaces: None,
        opened,
        nonce,
        client: "sim".parse().expect("a client id"),
        token: None,
        capabilities: Vec::new(),
        program: String::new(),
    })
}

fn welcome(ledger: LedgerId) -> Control {
    let limits = Limits { frame_bytes_max: u32::MAX, window_bytes: 0, lanes_max: 0 };
    let (capabilities, program) = (Vec::new(), String::new());
    Control::Welcome(Welcome { version: VERSION, ledger, opened: 0, limits, capabilities, program })
}
