//! Bytes from a peer or a damaged disk: whatever they are, they are read without a panic and without
//! more memory than they have a right to, and not one flipped bit of a run goes unseen (R5, R9, R10).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::frames::frame;
use common::options::seeds_in;
use common::packets::{OwnedPacket, Start, run};
use paquebot_protocol::codec::{HEAD_BYTES, decode_frame, encode_frame, split_frame};
use paquebot_protocol::run::RunError;
use paquebot_protocol::{Frame, Number, Packet, Run};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Does with bytes everything that the program may do with them.
fn read_in_every_way(bytes: Vec<u8>) {
    let mut buffer = BytesMut::from(&bytes[..]);
    while let Ok(Some(body)) = split_frame(&mut buffer, u32::MAX) {
        read_frame(&body);
    }
    let bytes = Bytes::from(bytes);
    read_frame(&bytes);
    if let Ok(run) = Run::decode(bytes.clone()) {
        read_run(&run);
    }
    let _ = Packet::decode(&bytes);
}

fn read_frame(body: &Bytes) {
    if let Ok(Frame::Run { run, .. }) = decode_frame(body) {
        read_run(&run);
    }
}

fn read_run(run: &Run) {
    let (first, last) = (run.first(), run.last());
    let _ = run.verify();
    for number in [Number(0), first.before(), first, last, last.next(), Number(u64::MAX)] {
        let _ = (run.chain_at(number), run.part(first, number), run.part(number, last));
    }
    for (_, record) in run.records() {
        let _ = Packet::decode(record);
    }
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(frame, &mut bytes);
    bytes
}

/// Damage of the kinds that links and disks do.
#[derive(Debug, Clone)]
enum Damage {
    Byte(Index, u8),
    Cut(Index),
    Grow(Vec<u8>),
    Swap(Index, Index),
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            _ if bytes.is_empty() => {}
            Self::Byte(at, to) => {
                let at = at.index(bytes.len());
                bytes[at] = *to;
            }
            Self::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Self::Grow(more) => bytes.extend_from_slice(more),
            Self::Swap(a, b) => {
                let length = bytes.len();
                bytes.swap(a.index(length), b.index(length));
            }
        }
    }
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Damage::Byte(at, to)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => vec(any::<u8>(), 1..10).prop_map(Damage::Grow),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Damage::Swap(a, b)),
    ]
}

proptest! {
    #![proptest_config(seeds_in("tests/hostile_bytes.regressions", 1))]

    #[test]
    fn no_bytes_at_all_cause_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_in_every_way(bytes);
    }

    #[test]
    fn no_damage_to_a_frame_causes_a_panic(
        frame in frame(),
        damages in vec(damage(), 1..4),
        keep_head in any::<bool>(),
    ) {
        let mut bytes = bytes_of(&frame);
        let mut bytes = bytes.split_off(if keep_head { 0 } else { HEAD_BYTES });
        for damage in damages {
            damage.apply(&mut bytes);
        }
        read_in_every_way(bytes);
    }

    #[test]
    fn no_damage_to_a_run_causes_a_panic(run in run(), damages in vec(damage(), 1..4)) {
        let mut bytes = run.encoded().to_vec();
        for damage in damages {
            damage.apply(&mut bytes);
        }
        read_in_every_way(bytes);
    }

    #[test]
    fn not_one_flipped_bit_of_a_run_goes_unseen(run in run()) {
        for bit in 0..run.encoded().len() * 8 {
            let mut bytes = run.encoded().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let verified = Run::decode(Bytes::from(bytes)).and_then(|run| run.verify());
            prop_assert!(verified.is_err(), "bit {} of byte {} counts for nothing", bit % 8, bit / 8);
        }
    }

    #[test]
    fn a_run_with_less_or_more_than_its_bytes_is_refused(run in run(), more in vec(any::<u8>(), 1..9)) {
        for length in 0..run.encoded().len() {
            prop_assert!(Run::decode(run.encoded().slice(..length)).is_err());
        }
        let longer = [run.encoded().to_vec(), more].concat();
        prop_assert!(Run::decode(Bytes::from(longer)).is_err());
    }
}

#[test]
fn bytes_after_the_last_record_are_refused_though_the_lengths_allow_for_them() {
    let run = Start::EXAMPLE.run_of(&[OwnedPacket::bare(b"one".to_vec())]);
    let packets_bytes: usize = run.records().map(|(_, record)| record.len() + 3).sum();
    let mut bytes = run.encoded().to_vec();
    let length = bytes.len() - packets_bytes - 1;
    assert_eq!(usize::from(bytes[length]), packets_bytes, "the place of a short length");
    bytes[length] += 1;
    bytes.push(0);
    let longer = Run::decode(Bytes::from(bytes)).expect("a head that can be read");
    assert_eq!(longer.verify(), Err(RunError::Count { expected: 1 }));
}

/// Announcements of 4 billion things, with not one of them following.
fn announcements() -> Vec<Vec<u8>> {
    const MANY: [u8; 4] = [0xff; 4];
    let array = [&[0xdd][..], &MANY].concat();
    let map = [&[0xdf][..], &MANY].concat();
    let text = [&[0xdb][..], &MANY].concat();
    let bin = [&[0xc6][..], &MANY].concat();
    let mut all = vec![array.clone(), map.clone(), text.clone(), bin.clone()];
    for key in ["open_lane", "lane_opened", "ack", "run", "bye", "hello"] {
        let head = u8::try_from(key.len()).map(|length| 0xa0 | length).expect("a short key");
        let key = [&[0x81, head][..], key.as_bytes()].concat();
        all.extend([&array, &map, &text, &bin].map(|announced| [&key[..], announced].concat()));
    }
    // A hello whose capabilities, and a lane_opened whose dead letters, are announced.
    all.push([&b"\x81\xa5hello\x81\xaccapabilities"[..], &array].concat());
    all.push([&b"\x81\xablane_opened\x91\x81\xa4dead"[..], &array].concat());
    // A packet with headers, and one with data.
    all.push([&b"\x93\x01\xc4\x00\x81\xa7headers"[..], &map].concat());
    all.push([&b"\x92\x01"[..], &bin].concat());
    all
}

#[test]
fn what_is_announced_is_not_reserved() {
    for bytes in announcements() {
        let before = virtual_peak_kib();
        read_in_every_way(bytes.clone());
        // Reserving room for 4 billion of anything would take 4 GiB; other tests of this process
        // take some megabytes meanwhile.
        let grown = virtual_peak_kib().saturating_sub(before);
        assert!(grown < 1024 * 1024, "{bytes:02x?} took {grown} KiB");
    }
}

#[test]
fn a_run_that_claims_four_billion_packets_is_looked_at_no_further_than_its_bytes() {
    let mut bytes = b"\x97\xc4\x10".to_vec();
    bytes.extend_from_slice(&[1; 16]);
    // Nonce 1, first 1, count 2^32 - 1, chain 1, check 1, no packets.
    bytes.extend_from_slice(b"\x01\x01\xce\xff\xff\xff\xff\x01\x01\xc4\x00");
    let run = Run::decode(Bytes::from(bytes)).expect("a head that can be read");
    assert_eq!(run.head().count, u32::MAX);
    assert!(run.verify().is_err());
    assert_eq!(run.records().count(), 0);
    assert_eq!(run.part(Number(1), Number(u64::MAX)), None);
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    let deep = vec![0x91; 1024 * 1024];
    let field = b"\x81\xa5pause\x81\xa6colour";
    read_in_every_way([&field[..], &deep].concat());
    read_in_every_way([&b"\x93\x01\xc4\x00\x81\xa6colour"[..], &deep].concat());
    read_in_every_way(deep);
}

/// The most virtual memory that this process ever had; 0 where it cannot be told.
fn virtual_peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let number = peak.and_then(|peak| peak.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}
