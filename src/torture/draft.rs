//! What a writer sends: drawn from its chance, told apart from every other packet by what it holds
//! wherever there is room for that.

use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use xxhash_rust::xxh3::xxh3_64;

use super::evidence::Sent;
use super::plan::spread;
use super::route::{End, POISON, ROUTES, Route};

/// What a receiver knows poison by.
const POISONED: &[u8] = b"poison";

/// How many of a hundred packets to the route [`POISON`] are poison.
const POISON_PERCENT: u8 = 5;

/// A packet before it is one.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    /// Its data.
    pub(super) data: Bytes,
    /// What is remembered of it.
    pub(super) sent: Sent,
}

/// Who drafts: one writer at one client.
#[derive(Debug)]
pub(super) struct Drafter {
    client: Arc<str>,
    writer: u64,
    rng: Rng,
    drafted: u64,
    targets: Vec<(&'static Route, Vec<Arc<str>>)>,
}

impl Drafter {
    /// A writer with its chance.
    pub(super) fn new(client: Arc<str>, writer: u64, rng: Rng) -> Self {
        let targets = |route: &'static Route| {
            (route, (0..route.targets).map(|at| route.target(at).into()).collect())
        };
        let targets = ROUTES.iter().map(targets).collect();
        Self { client, writer, rng, drafted: 0, targets }
    }

    /// The next packet.
    pub(super) fn draft(&mut self) -> Draft {
        self.drafted += 1;
        let total: u32 = ROUTES.iter().map(|route| route.weight).sum();
        let mut chosen = self.rng.u32(..total);
        let mut choice = None;
        for (route, targets) in &self.targets {
            if chosen < route.weight {
                choice = Some((*route, targets));
                break;
            }
            chosen -= route.weight;
        }
        let Some((route, targets)) = choice else {
            unreachable!("the weights add up to the total")
        };
        let target = self.rng.choice(targets).cloned().unwrap_or_default();
        let poison = route.name == POISON && self.rng.u8(..100) < POISON_PERCENT;
        let data = self.data(route, poison);
        let sent = Sent {
            client: Arc::clone(&self.client),
            target,
            end: if poison { End::Dead } else { route.end },
            digest: xxh3_64(&data),
            bytes: data.len() as u64,
            writer: self.writer,
            sequence: self.drafted,
        };
        Draft { data: data.into(), sent }
    }

    fn data(&mut self, route: &Route, poison: bool) -> Vec<u8> {
        let (least, most) = route.sizes;
        let size = match self.rng.u8(..100) {
            0..3 if least == 0 => 0,
            // Now and then one that does not fit a run with others.
            3 if least == 0 => spread(&mut self.rng, (most, 64 * 1024)),
            _ => spread(&mut self.rng, (least.max(8), most)),
        };
        let size = usize::try_from(size).unwrap_or_default();
        let mut data = Vec::with_capacity(size);
        if poison {
            data.extend_from_slice(POISONED);
        }
        let name = format!("{}/{}/{} ", self.client, self.writer, self.drafted);
        data.extend_from_slice(name.as_bytes());
        if size < data.len() && !poison {
            data.truncate(size);
        }
        let text = self.rng.u8(..4) > 0;
        while data.len() < size {
            data.push(if text { self.rng.alphanumeric() as u8 } else { self.rng.u8(..) });
        }
        data
    }
}

/// Whether a receiver refuses this for good.
pub(super) fn is_poison(data: &[u8]) -> bool {
    data.starts_with(POISONED)
}
