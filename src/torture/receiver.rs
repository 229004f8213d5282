//! The receiver: the applications behind handlers of kind `http`, which are not always well.
//!
//! `fast` always accepts, `slow` takes its time, `failing` and `hanging` do so for a while, and
//! `poison` refuses some packets for good. When it is calm all are well.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use xxhash_rust::xxh3::xxh3_64;

use super::draft::is_poison;
use super::evidence::{Seen, Visit};
use super::offence::Kind;
use super::plan::{Plan, Spell, spread, stream};
use super::route::POISON;
use super::stage::Stage;
use super::tally;
use crate::exit::{Code, Failure};

/// How long a slow application works, in milliseconds.
const WORK_MS: (u64, u64) = (1, 120);

/// What a failing application answers.
const FAILURES: [StatusCode; 6] = [
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::NOT_FOUND,
    StatusCode::FOUND,
    StatusCode::REQUEST_TIMEOUT,
];

/// The applications.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Where they listen.
    pub(super) address: SocketAddr,
    stage: Arc<Stage>,
    failing: Vec<Spell>,
    hanging: Vec<Spell>,
    guests: Mutex<Guests>,
}

/// Who came, in the order of the first time.
#[derive(Debug, Default)]
struct Guests {
    visits: Vec<Visit>,
    by_id: HashMap<String, usize>,
    /// The last packet of each client and target, until it has its final answer.
    open: HashMap<(Arc<str>, Arc<str>), usize>,
    names: HashMap<String, Arc<str>>,
    chance: Option<fastrand::Rng>,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Accept,
    Reject,
    Fail,
    Hang,
}

impl Receiver {
    /// Listens.
    pub(super) async fn start(stage: &Arc<Stage>, plan: &Plan) -> Result<Arc<Self>, Failure> {
        let failed = || Failure::of::<std::io::Error>(Code::Io, "the receiver");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed())?;
        let chance = Some(stream(stage.seed, "receiver", 0));
        let receiver = Arc::new(Self {
            address: listener.local_addr().map_err(failed())?,
            stage: Arc::clone(stage),
            failing: plan.failing.clone(),
            hanging: plan.hanging.clone(),
            guests: Mutex::new(Guests { chance, ..Guests::default() }),
        });
        tokio::spawn(Arc::clone(&receiver).serve(listener));
        Ok(receiver)
    }

    /// Everything that came.
    pub(super) fn visits(&self) -> Vec<Visit> {
        self.guests().visits.clone()
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            // A server that is killed while it connects is no reason to end.
            let Ok((socket, _)) = listener.accept().await else { continue };
            let receiver = Arc::clone(&self);
            let service = service_fn(move |request| Arc::clone(&receiver).answer(request));
            // It ends with an error whenever its peer is killed or gives up.
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Empty<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let answer = |status| {
            let mut response = Response::new(Empty::new());
            *response.status_mut() = status;
            Ok(response)
        };
        // A body that broke off was not received.
        let Ok(body) = body.collect().await else { return answer(StatusCode::BAD_REQUEST) };
        let data = body.to_bytes();
        let route = head.uri.path().trim_start_matches('/').to_owned();
        let Some(seen) = self.read(&head.headers, &data) else {
            self.stage.accuse(Kind::BadAnswer, || format!("a request lacks facts: {head:?}"));
            return answer(StatusCode::BAD_REQUEST);
        };
        let mood = self.mood(&route, &data);
        let at = self.came(seen);
        match mood {
            Mood::Accept => {
                if route == "slow" {
                    let work = self.draw(|rng| spread(rng, WORK_MS));
                    self.stage.storm(Duration::from_millis(work)).await;
                }
                self.stage.tally.one(tally::RECEIVED);
                self.settle(at, |visit| visit.accepted += 1);
                answer(StatusCode::NO_CONTENT)
            }
            Mood::Reject => {
                self.stage.tally.one(tally::REJECTED);
                self.settle(at, |visit| visit.rejected += 1);
                answer(StatusCode::UNPROCESSABLE_ENTITY)
            }
            Mood::Fail => {
                self.stage.tally.one(tally::FAILED);
                let status = self.draw(|rng| *rng.choice(&FAILURES).unwrap_or(&StatusCode::FOUND));
                let mut response = Response::new(Empty::new());
                *response.status_mut() = status;
                if status == StatusCode::TOO_MANY_REQUESTS {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                }
                Ok(response)
            }
            Mood::Hang => {
                self.stage.tally.one(tally::HUNG);
                self.stage.storm(Duration::from_secs(3_600)).await;
                answer(StatusCode::SERVICE_UNAVAILABLE)
            }
        }
    }

    fn mood(&self, route: &str, data: &[u8]) -> Mood {
        let now = self.stage.elapsed();
        let during =
            |spells: &[Spell]| self.stage.storms() && spells.iter().any(|spell| spell.holds(now));
        match route {
            POISON if is_poison(data) => Mood::Reject,
            "failing" if during(&self.failing) => Mood::Fail,
            "hanging" if during(&self.hanging) => Mood::Hang,
            _ => Mood::Accept,
        }
    }

    /// What a request says of its packet.
    fn read(&self, headers: &HeaderMap, data: &[u8]) -> Option<Seen> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let id = text("paquebot-id")?;
        if text("idempotency-key") != Some(id) {
            self.stage.accuse(Kind::BadAnswer, || {
                format!("{id}: another idempotency key: {:?}", text("idempotency-key"))
            });
        }
        let mut guests = self.guests();
        Some(Seen {
            id: id.to_owned(),
            client: guests.name(text("paquebot-client")?),
            target: guests.name(text("paquebot-target")?),
            number: text("paquebot-number")?.parse().ok()?,
            digest: xxh3_64(data),
            bytes: data.len() as u64,
        })
    }

    /// Somebody came, for the first time or again; gives the place in the order.
    fn came(&self, seen: Seen) -> usize {
        let mut guests = self.guests();
        if let Some(at) = guests.by_id.get(&seen.id).copied() {
            if let Some(visit) = guests.visits.get_mut(at) {
                visit.times += 1;
                if visit.seen != seen {
                    let first = visit.seen.clone();
                    drop(guests);
                    self.stage.accuse(Kind::Changed, || format!("first {first:?}, then {seen:?}"));
                }
            }
            return at;
        }
        let at = guests.visits.len();
        let lane = (Arc::clone(&seen.client), Arc::clone(&seen.target));
        guests.by_id.insert(seen.id.clone(), at);
        let waiting = guests.open.insert(lane, at).and_then(|before| guests.visits.get(before));
        let overtaken = waiting.filter(|before| before.accepted + before.rejected == 0);
        if let Some(before) = overtaken.map(|before| before.seen.id.clone()) {
            self.stage.accuse(Kind::OutOfOrder, || {
                format!("{}: the receiver: before {before} had its final answer", seen.id)
            });
        }
        guests.visits.push(Visit { seen, accepted: 0, rejected: 0, times: 1 });
        at
    }

    fn settle(&self, at: usize, how: impl FnOnce(&mut Visit)) {
        if let Some(visit) = self.guests().visits.get_mut(at) {
            how(visit);
        }
    }

    fn draw<T: Copy>(&self, from: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        from(self.guests().chance.get_or_insert_default())
    }

    fn guests(&self) -> std::sync::MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guests {
    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let known: Arc<str> = name.into();
        self.names.insert(name.to_owned(), Arc::clone(&known));
        known
    }
}
