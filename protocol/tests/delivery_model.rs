//! Whatever happens to links, processes and handlers, in whatever order: every stored packet is
//! handled, in order, exactly once where the effect is recorded with the cursor; nothing is dropped
//! that the ledger has not; windows hold; no lane sees two attempts at once; and when faults stop,
//! everything drains without new input (R3 to R8, R11).

mod common;

use common::options::seeds_in;
use common::{Options, Pair};
use paquebot_protocol::frame::SkipReason;
use paquebot_protocol::{Lane, Millis, Number};
use proptest::collection::vec;
use proptest::prelude::*;

/// What may happen to a pair.
#[derive(Debug, Clone)]
enum Verb {
    Store(Lane, u64),
    Steps(Vec<usize>),
    Cut,
    Reconnect,
    CrashClient,
    CrashServer,
    FailHandler(Lane),
    StumbleHandler(Lane),
    CreepHandler(Lane),
    DelayHandler(Lane),
    HealHandler(Lane),
    RefuseRun(Lane),
    RefusePacket(Lane),
    PutOff(Lane),
    FillSocket(bool),
    Wait(Millis),
    Bury(Lane, u64, u64, SkipReason),
}

fn lane() -> impl Strategy<Value = Lane> {
    (1_u64..=3).prop_map(Lane)
}

fn reason() -> impl Strategy<Value = SkipReason> {
    use SkipReason::{Damaged, Evicted, Expired, Purged};
    prop_oneof![Just(Expired), Just(Evicted), Just(Purged), Just(Damaged)]
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => (lane(), 1_u64..6).prop_map(|(lane, count)| Verb::Store(lane, count)),
        12 => vec(any::<usize>(), 1..12).prop_map(Verb::Steps),
        2 => Just(Verb::Cut),
        3 => Just(Verb::Reconnect),
        1 => Just(Verb::CrashClient),
        1 => Just(Verb::CrashServer),
        1 => lane().prop_map(Verb::FailHandler),
        1 => lane().prop_map(Verb::StumbleHandler),
        1 => lane().prop_map(Verb::CreepHandler),
        1 => lane().prop_map(Verb::DelayHandler),
        2 => lane().prop_map(Verb::HealHandler),
        1 => lane().prop_map(Verb::RefuseRun),
        1 => lane().prop_map(Verb::RefusePacket),
        1 => lane().prop_map(Verb::PutOff),
        2 => any::<bool>().prop_map(Verb::FillSocket),
        2 => (1_u64..2_000).prop_map(|length| Verb::Wait(Millis(length))),
        1 => Just(Verb::Wait(Millis(1_000_000))),
        2 => (lane(), 1_u64..30, 1_u64..8, reason()).prop_map(|(lane, from, count, why)| {
            Verb::Bury(lane, from, count, why)
        }),
    ]
}

fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    vec(verb(), 1..60)
}

fn options() -> impl Strategy<Value = Options> {
    // A run has some 100 to 250 bytes: these are windows of less than a run, of a few, of many.
    let bytes = || prop_oneof![Just(1), Just(300), Just(64 * 1024)];
    (bytes(), bytes(), any::<bool>()).prop_map(|(window_bytes, budget_bytes, exactly_once)| {
        // An inbox that allows one run of the longest kind beyond the window, and not a byte more.
        let frame_bytes_max = 300;
        Options { window_bytes, budget_bytes, frame_bytes_max, exactly_once, ..<_>::default() }
    })
}

fn live_through(pair: &mut Pair, verbs: Vec<Verb>) {
    for verb in verbs {
        match verb {
            Verb::Store(lane, count) => pair.store(lane, count),
            Verb::Steps(choices) => {
                for choice in choices {
                    pair.step(choice);
                }
            }
            Verb::Cut => pair.cut(),
            Verb::Reconnect => pair.reconnect(),
            Verb::CrashClient => pair.crash_client(),
            Verb::CrashServer => pair.crash_server(),
            Verb::FailHandler(lane) => pair.fail_handler(lane),
            Verb::StumbleHandler(lane) => pair.stumble_handler(lane),
            Verb::CreepHandler(lane) => pair.creep_handler(lane),
            Verb::DelayHandler(lane) => pair.delay_handler(lane),
            Verb::HealHandler(lane) => pair.heal_handler(lane),
            Verb::RefuseRun(lane) => pair.refuse_run(lane),
            Verb::RefusePacket(lane) => pair.refuse_packet(lane),
            Verb::PutOff(lane) => pair.put_off(lane),
            Verb::FillSocket(is_full) => pair.fill_socket(is_full),
            Verb::Wait(length) => pair.wait(length),
            Verb::Bury(lane, from, count, why) => {
                pair.bury(lane, Number(from), Number(from + count - 1), why);
            }
        }
    }
}

proptest! {
    // Cases are short, and mixtures are many.
    #![proptest_config(seeds_in("tests/delivery_model.regressions", 16))]

    #[test]
    fn every_packet_is_handled_in_order_whatever_happens(
        options in options(),
        verbs in verbs(),
    ) {
        let mut pair = Pair::new(options);
        live_through(&mut pair, verbs);
        pair.settle();
        let excused = pair.doubts_within_tombstones;
        prop_assert_eq!(pair.client.rekeyed, excused, "one history was taken for two");
        prop_assert_eq!(pair.server.ledger.refused, 0, "an attempt began where no cursor was");
        // Under a new name the lanes go on where the client stands.
        let elsewhere = if excused == 0 { pair.server.ledger.elsewhere } else { 0 };
        prop_assert_eq!(elsewhere, 0, "the ledger was behind its own acks");
    }

    #[test]
    fn a_ledger_that_forgets_lanes_costs_duplicates_and_no_packet(
        options in options(),
        rounds in vec((verbs(), lane()), 1..4),
    ) {
        let mut pair = Pair::new(options);
        for (verbs, forgotten) in rounds {
            live_through(&mut pair, verbs);
            pair.forget_lane(forgotten);
        }
        pair.settle();
        let excused = pair.doubts_within_tombstones;
        prop_assert_eq!(pair.client.rekeyed, excused, "one history was taken for two");
    }
}
