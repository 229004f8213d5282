//! The ledger says that a record failed, and has kept it all the same, or not: the handler `file` cuts
//! nothing before the ledger has told what counts (R4).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use actix::{Actor, Context, Handler, Recipient};
use common::House;
use paquebot_actors::attempt::Ended;
use paquebot_actors::ledger::{Record, Recorded, Unrecorded};
use paquebot_store::RecordError;

#[test]
fn a_record_that_was_kept_after_all_keeps_its_lines() {
    assert_eq!(lines_after_a_failure(true), [1, 2, 3]);
}

#[test]
fn a_record_that_was_not_kept_comes_again_and_is_there_once() {
    assert_eq!(lines_after_a_failure(false), [1, 2, 3]);
}

fn lines_after_a_failure(keeps: bool) -> Vec<u64> {
    let mut house = House::new(1, 3, None);
    actix_rt::System::new().block_on(async {
        let liar = |ledger| Liar { ledger, keeps, lied: false }.start().recipient();
        let (store, alive) = house.start_with(liar);
        let alive = alive.unwrap();
        alive.hand_over(1, 0, 2);
        assert!(matches!(alive.outcome().await.ended, Ended::Failed { .. }));
        // The client comes again, and is told the cursor.
        let cursor = if keeps { 2 } else { 0 };
        alive.hand_over(1, cursor, 3 - cursor);
        assert!(matches!(alive.outcome().await.ended, Ended::Settled { .. }));
        house.stop(alive).await;
        store.close().unwrap();
    });
    assert_eq!(house.count(".quarantine-"), usize::from(!keeps));
    house.written()[&1].clone()
}

/// Says of the first record that it failed.
struct Liar {
    ledger: Recipient<Record>,
    keeps: bool,
    lied: bool,
}

impl Actor for Liar {
    type Context = Context<Self>;
}

impl Handler<Record> for Liar {
    type Result = ();

    fn handle(&mut self, mut record: Record, _: &mut Self::Context) {
        if std::mem::replace(&mut self.lied, true) {
            return self.ledger.do_send(record);
        }
        let error = RecordError::Failed("an answer that got lost".to_owned());
        let reply = record.reply.take().unwrap();
        if self.keeps {
            let lie = |outcome: Result<Recorded, Unrecorded>| {
                outcome.unwrap().put_off(1, "told that it failed");
                reply(Err(Unrecorded { error, attempts: Vec::new() }));
            };
            record.reply = Some(Box::new(lie));
            self.ledger.do_send(record);
        } else {
            reply(Err(Unrecorded { error, attempts: record.attempts }));
        }
    }
}
