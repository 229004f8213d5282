//! What is encoded is what is decoded: packets, batches, runs and parts of runs keep their bytes,
//! their numbers and their chain; frames keep their meaning however TCP cuts them up; and what a
//! later version adds to a control frame is passed over (R7, R12).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::frames::{examples, frame};
use common::options::seeds_in;
use common::packets::{OwnedPacket, Start, batch_of, packet, packets, records_of, run, start};
use paquebot_protocol::codec::{
    FRAME_OVERHEAD_BYTES_MAX, FrameError, HEAD_BYTES, decode_frame, encode_frame, split_frame,
};
use paquebot_protocol::run::RunBuilder;
use paquebot_protocol::{Chain, Control, Frame, Number, Packet, Run};
use proptest::collection::vec;
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

const FRAME_BYTES_MAX: u32 = 1024 * 1024;

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(frame, &mut bytes);
    bytes
}

/// Frames as they come off a connection, of which `pieces` arrive one after another.
fn receive(bytes: &[u8], mut pieces: Vec<usize>) -> Vec<Frame> {
    let (mut buffer, mut rest, mut frames) = (BytesMut::new(), bytes, Vec::new());
    while !rest.is_empty() {
        let piece = pieces.pop().unwrap_or(rest.len()).clamp(1, rest.len());
        let (now, later) = rest.split_at(piece);
        buffer.extend_from_slice(now);
        rest = later;
        while let Some(body) = split_frame(&mut buffer, FRAME_BYTES_MAX).expect("lengths in bounds")
        {
            frames.push(decode_frame(&body).expect("a frame"));
        }
    }
    assert!(buffer.is_empty(), "{} bytes are left over", buffer.len());
    frames
}

/// The packets as runs of at most `bytes_max` of records, cut as the store cuts them.
fn cut(start: Start, batches: &[Vec<OwnedPacket>], bytes_max: usize) -> Vec<Run> {
    let builder = |first, chain| RunBuilder::new(start.origin, first, chain, bytes_max);
    let (mut runs, mut next) = (Vec::<Run>::new(), start.first);
    let mut open = builder(next, start.chain);
    for packets in batches {
        let (batch, mut at) = (batch_of(packets), 0);
        while at < batch.count() {
            let end = open.fill(&batch, at, bytes_max);
            next = Number(next.0 + (end - at) as u64);
            at = end;
            if at < batch.count() {
                let chain = open.chain();
                let full = std::mem::replace(&mut open, builder(next, chain));
                runs.push(full.finish().expect("a builder that takes nothing holds something"));
            }
        }
    }
    runs.extend(open.finish());
    runs
}

proptest! {
    #![proptest_config(seeds_in("tests/roundtrip.regressions", 1))]

    #[test]
    fn a_packet_survives_its_record(packet in packet()) {
        let run = Start::EXAMPLE.run_of(std::slice::from_ref(&packet));
        let (_, record) = run.records().next().expect("a record");
        prop_assert_eq!(Packet::decode(record).expect("a packet"), packet.as_packet());
    }

    #[test]
    fn a_run_survives_its_encoding_and_numbers_its_packets_in_order(
        start in start(),
        packets in packets(),
    ) {
        let run = start.run_of(&packets);
        let read = Run::decode(run.encoded().clone()).expect("a run");
        prop_assert_eq!(&read, &run);
        prop_assert_eq!(read.verify().expect("undamaged"), run.chain_at(run.last()).expect("its end"));
        prop_assert_eq!(read.head().origin, start.origin);
        prop_assert_eq!(read.chain_at(start.first.before()), Some(start.chain));
        let expected = packets.iter().zip(start.first.0..);
        for ((number, record), (packet, at)) in read.records().zip(expected) {
            prop_assert_eq!(number, Number(at));
            prop_assert_eq!(Packet::decode(record).expect("a packet"), packet.as_packet());
        }
        prop_assert_eq!(read.records().count(), packets.len());
        prop_assert_eq!(read.last().since(read.first().before()), packets.len() as u64);
    }

    #[test]
    fn a_part_verifies_and_has_the_records_and_chains_of_the_whole(
        run in run(),
        from in 0_u64..25,
        length in 0_u64..25,
    ) {
        let from = Number(run.first().0.saturating_add(from).saturating_sub(2));
        let through = Number(from.0.saturating_add(length));
        let inside = records_of(&run).into_iter();
        let inside: Vec<_> = inside.filter(|(at, _)| (from..=through).contains(at)).collect();
        let Some(part) = run.part(from, through) else {
            prop_assert!(inside.is_empty());
            return Ok(());
        };
        prop_assert_eq!(records_of(&part), inside);
        prop_assert_eq!(Some(part.verify().expect("undamaged")), run.chain_at(part.last()));
        for at in part.first().before().0..=part.last().0 {
            prop_assert_eq!(part.chain_at(Number(at)), run.chain_at(Number(at)));
        }
        prop_assert_eq!(Run::decode(part.encoded().clone()).expect("a run"), part);
    }

    #[test]
    fn parts_one_after_another_give_the_chain_of_the_whole(run in run(), cut in 0_u64..20) {
        let middle = Number(run.first().0 + cut.min(u64::from(run.head().count) - 1));
        let head = run.part(run.first(), middle).expect("at least one packet");
        let whole = run.verify().expect("undamaged");
        match run.part(middle.next(), run.last()) {
            Some(tail) => {
                prop_assert_eq!(head.verify().expect("undamaged"), tail.head().chain);
                prop_assert_eq!(tail.verify().expect("undamaged"), whole);
            }
            None => prop_assert_eq!(head.encoded(), run.encoded()),
        }
    }

    #[test]
    fn runs_that_were_filled_under_a_limit_hold_all_packets_in_order(
        start in start(),
        batches in vec(packets(), 1..5),
        bytes_max in 1_usize..600,
    ) {
        let runs = cut(start, &batches, bytes_max);
        let (mut next, mut chain) = (start.first, start.chain);
        let mut found = Vec::new();
        for run in &runs {
            prop_assert_eq!((run.first(), run.head().chain), (next, chain));
            let records_bytes: usize = run.records().map(|(_, record)| record.len() + 3).sum();
            prop_assert!(records_bytes <= bytes_max || run.head().count == 1);
            chain = run.verify().expect("undamaged");
            next = run.last().next();
            found.extend(records_of(run).into_iter().map(|(_, record)| record));
        }
        let whole = start.run_of(&batches.concat());
        let expected: Vec<_> = records_of(&whole).into_iter().map(|(_, record)| record).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(chain, whole.verify().expect("undamaged"));
    }

    #[test]
    fn frames_survive_however_the_stream_is_cut_up(
        frames in vec(frame(), 1..6),
        pieces in vec(1_usize..200, 0..40),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(bytes_of).collect();
        prop_assert_eq!(receive(&bytes, pieces), frames);
    }

    #[test]
    fn another_birth_another_place_or_another_packet_gives_another_chain(
        start in start(),
        packets in packets(),
        changed in any::<prop::sample::Index>(),
    ) {
        let chain = |start: Start, packets: &[OwnedPacket]| start.run_of(packets).verify();
        let before = chain(start, &packets);
        let mut born_elsewhere = start;
        born_elsewhere.origin.nonce ^= 1;
        prop_assert_ne!(&chain(born_elsewhere, &packets), &before);
        let later = Start { chain: Chain(start.chain.0 ^ 1), ..start };
        prop_assert_ne!(&chain(later, &packets), &before);
        let mut others = packets.clone();
        others[changed.index(packets.len())].created_ms ^= 1;
        prop_assert_ne!(&chain(start, &others), &before);
    }
}

#[test]
fn records_of_every_length_survive() {
    // Where MessagePack changes its mind about heads, both within a record and around it.
    for length in [0, 255, 256].into_iter().chain(65_515..65_540).chain([100_000]) {
        let packets = [OwnedPacket::bare(vec![7; length]), OwnedPacket::bare(b"after".to_vec())];
        let run = Start::EXAMPLE.run_of(&packets);
        let read = Run::decode(run.encoded().clone()).expect("a run");
        read.verify().expect("undamaged");
        for ((_, record), packet) in read.records().zip(&packets) {
            assert_eq!(Packet::decode(record).expect("a packet"), packet.as_packet());
        }
        assert_eq!(read.part(Number(301), Number(301)).map(|part| part.records().count()), Some(1));
    }
}

#[test]
fn a_part_outside_of_the_run_is_nothing() {
    let run = Start::EXAMPLE.run_of(&[OwnedPacket::bare(b"one".to_vec())]);
    assert_eq!((run.first(), run.last()), (Number(300), Number(300)));
    assert_eq!(run.part(Number(298), Number(299)), None);
    assert_eq!(run.part(Number(301), Number(400)), None);
    assert_eq!(run.part(Number(400), Number(100)), None);
    assert_eq!(run.chain_at(Number(298)), None);
    assert_eq!(run.chain_at(Number(301)), None);
}

#[test]
fn a_truncated_frame_waits_for_the_rest() {
    for (name, frame) in examples() {
        let bytes = bytes_of(&frame);
        for length in 0..bytes.len() {
            let mut buffer = BytesMut::from(&bytes[..length]);
            let body = split_frame(&mut buffer, FRAME_BYTES_MAX).expect("a length in bounds");
            assert_eq!(body, None, "{name} cut to {length} bytes");
            assert_eq!(buffer.len(), length, "{name}: waiting took bytes away");
        }
    }
}

#[test]
fn an_overlong_frame_is_refused_as_soon_as_its_length_is_known() {
    let max = FRAME_OVERHEAD_BYTES_MAX;
    let mut buffer = head_announcing(max + 1);
    let refused = split_frame(&mut buffer, max);
    assert!(matches!(refused, Err(FrameError::TooLong { found, .. }) if found == max + 1));
    let mut buffer = head_announcing(max);
    assert!(matches!(split_frame(&mut buffer, max), Ok(None)));
}

/// A head as it begins a frame of so many bytes.
fn head_announcing(body_bytes: u32) -> BytesMut {
    let length = body_bytes.to_be_bytes();
    let check = (xxh3_64(&length) as u32).to_be_bytes();
    BytesMut::from(&[length, check, [0; 4]].concat()[..])
}

#[test]
fn a_flipped_bit_anywhere_in_a_frame_is_found() {
    for (name, frame) in examples() {
        let bytes = bytes_of(&frame);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = BytesMut::from(&bytes[..]);
            damaged[bit / 8] ^= 1 << (bit % 8);
            let split = split_frame(&mut damaged, FRAME_BYTES_MAX);
            let found = matches!(split, Err(FrameError::Damaged { .. }));
            assert!(found, "{name}: bit {bit} flipped, and taken for {split:?}");
        }
    }
}

#[test]
fn an_unknown_field_in_a_control_frame_is_ignored() {
    let with_fields = ["hello", "welcome", "refused", "skip", "dead", "refuse_run", "pause"];
    for (name, frame) in examples().into_iter().filter(|(name, _)| with_fields.contains(name)) {
        let mut body = bytes_of(&frame).split_off(HEAD_BYTES);
        // {name: {fields}}: one more field at the end of the inner map, a nested one at that.
        let fields = 2 + name.len();
        assert_eq!(body[fields] & 0xf0, 0x80, "{name}: expected a short map of fields");
        body[fields] += 1;
        body.extend_from_slice(b"\xa6colour\x81\xa4name\x92\xa3red\xc0");
        let read = decode_frame(&Bytes::from(body)).expect(name);
        assert_eq!(read, frame);
    }
}

#[test]
fn optional_fields_may_be_left_out() {
    let body = b"\x81\xa7refused\x82\xa4code\xa4busy\xa7message\xa4full";
    let read = decode_frame(&Bytes::from_static(body)).expect("a frame");
    let Frame::Control(Control::Refused(refused)) = read else { panic!("found {read:?}") };
    assert_eq!((refused.message.as_str(), refused.retry_after_ms), ("full", None));
}

#[test]
fn codes_of_a_later_version_are_read_as_unknown() {
    let codes = [("refused", &b"busy"[..]), ("skip", b"expired"), ("refuse_run", b"too-large")];
    for (name, code) in codes {
        let (_, frame) = examples().into_iter().find(|(kind, _)| *kind == name).expect(name);
        let body = bytes_of(&frame).split_off(HEAD_BYTES);
        let at = body.windows(code.len()).position(|window| window == code).expect("the code");
        let mut later = body.clone();
        later[at..at + code.len()].fill(b'z');
        let read = decode_frame(&Bytes::from(later)).expect(name);
        assert!(format!("{read:?}").contains("Unknown"), "{read:?}");
    }
}
