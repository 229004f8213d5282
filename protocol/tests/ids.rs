//! The grammar of client ids, store ids and packet ids (INTERFACE.md, section 1): what is written is
//! read, and what is not an id is refused.

mod common;

use common::options::seeds_in;
use paquebot_protocol::{ClientId, Lane, LedgerId, Number, PacketId, SpoolId};
use proptest::prelude::*;

const HEX: &str = "00112233445566778899aabbccddeeff";

fn client(text: &str) -> Option<String> {
    text.parse::<ClientId>().ok().map(|id| id.to_string())
}

fn packet(text: &str) -> Option<PacketId> {
    text.parse().ok()
}

proptest! {
    #![proptest_config(seeds_in("tests/ids.regressions", 1))]

    #[test]
    fn a_packet_id_survives_its_text(spool: [u8; 16], lane: u64, number: u64) {
        let (spool, lane, number) = (SpoolId(spool), Lane(lane), Number(number));
        let id = PacketId { spool, lane, number };
        let text = id.to_string();
        prop_assert_eq!(packet(&text), Some(id));
        prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{}", text);
    }

    #[test]
    fn store_ids_survive_their_text(bytes: [u8; 16]) {
        prop_assert_eq!(SpoolId(bytes).to_string().parse(), Ok(SpoolId(bytes)));
        prop_assert_eq!(LedgerId(bytes).to_string().parse(), Ok(LedgerId(bytes)));
    }

    #[test]
    fn any_text_is_a_client_id_by_the_rules_alone(text in "([A-Za-z0-9._-]|.){0,70}") {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        let valid = (1..=64).contains(&text.len()) && text.chars().all(allowed);
        prop_assert_eq!(client(&text), valid.then_some(text));
    }

    #[test]
    fn no_text_makes_an_id_that_it_does_not_mean(text in "[0-9a-fA-F-]{0,40}(-[0-9]{1,20}){0,3}") {
        if let Some(id) = packet(&text) {
            prop_assert_eq!(packet(&id.to_string()), Some(id));
        }
    }
}

#[test]
fn client_ids_have_1_to_64_characters() {
    assert_eq!(client(""), None);
    assert!(client("a").is_some());
    assert!(client(&"a".repeat(64)).is_some());
    assert_eq!(client(&"a".repeat(65)), None);
}

#[test]
fn client_ids_with_each_kind_of_fault() {
    for text in ["a b", "a/b", "a:b", "a\n", "ä", "a\0", "a@b", "$a", " a"] {
        assert_eq!(client(text), None, "{text:?}");
    }
    for text in ["till-17", "A.b_c-9", ".", "-", "_"] {
        assert_eq!(client(text).as_deref(), Some(text));
    }
}

#[test]
fn a_packet_id_is_spool_lane_and_number() {
    let id = packet(&format!("{HEX}-7-42")).expect("a packet id");
    let spool: SpoolId = HEX.parse().expect("a spool id");
    assert_eq!(id, PacketId { spool, lane: Lane(7), number: Number(42) });
    assert_eq!(spool.0[..3], [0x00, 0x11, 0x22]);
}

#[test]
fn packet_ids_reach_to_the_end_of_their_ranges_and_no_further() {
    let max = u64::MAX;
    assert!(packet(&format!("{HEX}-{max}-{max}")).is_some());
    let beyond = "18446744073709551616";
    assert_eq!(packet(&format!("{HEX}-{beyond}-1")), None);
    assert_eq!(packet(&format!("{HEX}-1-{beyond}")), None);
}

#[test]
fn packet_ids_with_each_kind_of_fault() {
    let upper = HEX.to_uppercase();
    let faults = [
        String::new(),
        HEX.to_owned(),
        format!("{HEX}-1"),
        format!("{HEX}-1-"),
        format!("{HEX}--1"),
        format!("{HEX}-1-2-3"),
        format!("{HEX}-x-1"),
        format!("{HEX}-1-0x1"),
        format!("{HEX}-1- 2"),
        format!("{HEX}-1--2"),
        format!("{upper}-1-2"),
        format!("{HEX}0-1-2"),
        format!("{}-1-2", &HEX[1..]),
        format!("{}g-1-2", &HEX[1..]),
        format!("{}é-1-2", &HEX[2..]),
    ];
    for text in faults {
        assert_eq!(packet(&text), None, "{text:?}");
    }
}
