//! An outbox with its orders taken down, and a server that says what a test wants it to say.

use paquebot_protocol::frame::{Ack, LaneOpened};
use paquebot_protocol::outbox::{Order, Outbox};
use paquebot_protocol::{Chain, Lane, Millis, Number};

pub(crate) const LANE: Lane = Lane(1);
pub(crate) const OTHER: Lane = Lane(2);
pub(crate) const CHAIN: Chain = Chain(7);
pub(crate) const NOW: Millis = Millis(0);
pub(crate) const ROOMY: u64 = 1_000_000;

/// An outbox with its orders taken down.
pub(crate) struct Sender {
    pub(crate) outbox: Outbox,
}

impl Sender {
    /// A connected one, with packets 1 to 10 in each of `lanes`, none of them acked.
    pub(crate) fn with(lanes: &[Lane]) -> Self {
        let mut outbox = Outbox::default();
        outbox.connected(ROOMY);
        for lane in lanes {
            outbox.stored(*lane, Number::NONE, Number(10));
        }
        Self { outbox }
    }

    pub(crate) fn orders(&mut self) -> Vec<Order> {
        std::iter::from_fn(|| self.outbox.poll(NOW)).collect()
    }

    /// The only order that there is.
    pub(crate) fn order(&mut self) -> Order {
        let orders = self.orders();
        assert_eq!(orders.len(), 1, "expected one order, found {orders:?}");
        orders[0].clone()
    }

    pub(crate) fn answer(
        &mut self,
        lane: Lane,
        generation: u32,
        cursor: u64,
        chain: Option<Chain>,
    ) {
        let answer = opened(lane, generation, cursor, chain);
        self.outbox.lane_opened(&answer).expect("a right answer");
    }

    /// Opens a lane that the ledger does not know.
    pub(crate) fn open(&mut self, lane: Lane, generation: u32) {
        self.answer(lane, generation, 0, None);
    }
}

pub(crate) fn opened(lane: Lane, generation: u32, cursor: u64, chain: Option<Chain>) -> LaneOpened {
    let (cursor, window_bytes, dead) = (Number(cursor), ROOMY, Vec::new());
    LaneOpened { lane, generation, cursor, chain, window_bytes, dead, skipped: 0 }
}

pub(crate) fn send(lane: Lane, generation: u32, from: u64) -> Order {
    Order::Send { lane, generation, from: Number(from), packets_max: u64::MAX }
}

pub(crate) fn open(lane: Lane, generation: u32, first: u64) -> Order {
    Order::Open { lane, generation, first: Number(first), next: Number(11) }
}

pub(crate) fn ack(lane: Lane, through: Number) -> Ack {
    Ack { lane, through, skipped: 0 }
}
