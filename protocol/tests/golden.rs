//! Format 1, byte by byte: one frame of each kind, and the run that is stored as it is sent. Clients
//! in other languages and spools on disks depend on it: a change here is a new format (R12).

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a rig that panics fails its test"
)]

mod common;

use bytes::{Bytes, BytesMut};
use common::frames::examples;
use common::packets::OwnedPacket;
use paquebot_protocol::codec::{HEAD_BYTES, decode_frame, encode_frame, split_frame};
use paquebot_protocol::{Chain, Control, Frame, Lane, Packet, Run, TargetId};

/// The frames of `common/frames.rs`, with their lengths; the two checks between length and body are
/// [`CHECKS`].
const FRAMES: [(&str, &str); 16] = [
    (
        "run",
        "0000006081a372756e93050297c41011111111111111111111111111111111cf2222222222222222cd01\
         2c02cf3333333333333333cf2d89abe4362b2268c424c5000f92cf0000018bcfe56800c4036f6e65c500\
         0f92cf0000018bcfe56800c40374776f",
    ),
    (
        "hello",
        "000000a181a568656c6c6f89a776657273696f6e01a573706f6f6cc41011111111111111111111111111\
         111111a87265706c61636573c41044444444444444444444444444444444a66f70656e656403a56e6f6e\
         6365cf2222222222222222a6636c69656e74a774696c6c2d3137a5746f6b656ea6736563726574ac6361\
         706162696c697469657391a47a737464a770726f6772616dae7061717565626f7420302e312e30",
    ),
    (
        "welcome",
        "0000009381a777656c636f6d6586a776657273696f6e01a66c6564676572c41055555555555555555555\
         555555555555a66f70656e656403a66c696d69747383af6672616d655f62797465735f6d6178ce004000\
         00ac77696e646f775f6279746573ce00800000a96c616e65735f6d617840ac6361706162696c69746965\
         7390a770726f6772616dae7061717565626f7420302e312e30",
    ),
    (
        "refused",
        "0000003381a77265667573656483a4636f6465a462757379a76d657373616765a466756c6cae72657472\
         795f61667465725f6d73cd03e8",
    ),
    (
        "open_lane",
        "0000004181a96f70656e5f6c616e659185a46c616e6505aa67656e65726174696f6e02a6746172676574\
         a96f72646572732e6575a56669727374cd012ca46e657874cd012e",
    ),
    (
        "lane_opened",
        "0000005e81ab6c616e655f6f70656e65649187a46c616e6505aa67656e65726174696f6e02a663757273\
         6f72cd012ba5636861696ecf3333333333333333ac77696e646f775f6279746573ce00100000a4646561\
         6491cd012aa7736b697070656404",
    ),
    (
        "skip",
        "0000005881a4736b697087a46c616e6505aa67656e65726174696f6e02a56669727374cd012ca7746872\
         6f756768cd0136a5636861696ecf3333333333333333ab636861696e5f616674657207a6726561736f6e\
         a765787069726564",
    ),
    ("ack", "0000000c81a361636b919305cd012e04"),
    (
        "dead",
        "0000002e81a46465616483a46c616e6505a76e756d6265727391cd012ba6726561736f6ead6e6f207375\
         6368206f72646572",
    ),
    (
        "refuse_run",
        "0000004281aa7265667573655f72756e85a46c616e6505aa67656e65726174696f6e02a56669727374cd\
         012ca77468726f756768cd0136a4636f6465a9746f6f2d6c61726765",
    ),
    (
        "pause",
        "0000003881a5706175736584a46c616e6505aa67656e65726174696f6e02ae72657472795f6166746572\
         5f6d73cd1388a6726561736f6ea4646f776e",
    ),
    ("retire", "0000000981a672657469726505"),
    (
        "status",
        "000000e181a67374617475738ca8636c6f636b5f6d73cf0000019b76daa800a577686f6c65c3af626163\
         6b6c6f675f7061636b65747303ad6261636b6c6f675f6279746573cd0264ad6f6c646573745f6167655f\
         6d73cd1068b073706f6f6c5f66696c655f6279746573ce00110000af73706f6f6c5f6d61785f62797465\
         73ce40000000aa6469736b5f6279746573ce03200000ac7365636f6e64735f6c656674c0a466756c6cc0\
         aa6c6173745f6572726f72c0a56c616e65739184a46c616e6505a77061636b65747303a56279746573cd\
         0264ad6f6c646573745f6167655f6d73cd1068",
    ),
    ("ping", "0000000781a470696e6701"),
    ("pong", "0000000781a4706f6e6701"),
    ("bye", "0000000e81a3627965a873746f7070696e67"),
];

/// The whole of one frame, with its checks; `tests/roundtrip.rs` sees that all are found.
const CHECKS: (&str, &str) = ("ping", "000000079b83189c1f40d57581a470696e6701");

/// The run among them, as it is stored.
const RUN: &str = "97c41011111111111111111111111111111111cf2222222222222222cd012c02cf3333333333333333cf\
    2d89abe4362b2268c424c5000f92cf0000018bcfe56800c4036f6e65c5000f92cf0000018bcfe56800c4\
    0374776f";

/// The chain after that run.
const RUN_CHAIN: Chain = Chain(0x6b52_0e88_913f_f0ae);

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().map(|digit| (digit as char).to_digit(16)).map(half).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn half(digit: Option<u32>) -> u8 {
    digit.and_then(|digit| u8::try_from(digit).ok()).unwrap_or_default()
}

#[test]
fn frames_are_written_as_they_always_were() {
    let frames = examples();
    assert_eq!(frames.len(), FRAMES.len(), "a frame without its golden bytes");
    for ((name, frame), (golden_name, golden)) in frames.iter().zip(FRAMES) {
        let mut bytes = Vec::new();
        encode_frame(frame, &mut bytes);
        if *name == CHECKS.0 {
            assert_eq!(hex_of(&bytes), CHECKS.1);
        }
        bytes.drain(4..HEAD_BYTES);
        assert_eq!((*name, hex_of(&bytes).as_str()), (golden_name, golden));
    }
}

#[test]
fn frames_of_format_1_are_read_for_ever() {
    for ((name, frame), (_, golden)) in examples().into_iter().zip(FRAMES) {
        let body = Bytes::from(bytes_of(golden).split_off(4));
        assert_eq!(decode_frame(&body).expect(name), frame);
    }
    let mut buffer = BytesMut::from(&bytes_of(CHECKS.1)[..]);
    let body = split_frame(&mut buffer, 1024).expect("checks that fit").expect("a whole frame");
    assert_eq!(decode_frame(&body).expect(CHECKS.0), Frame::Control(Control::Ping(1)));
}

#[test]
fn a_run_of_format_1_is_read_for_ever() {
    let run = Run::decode(Bytes::from(bytes_of(RUN))).expect("a run");
    assert_eq!(run.verify(), Ok(RUN_CHAIN));
    let packets: Vec<_> = run.records().map(|(_, record)| record.to_vec()).collect();
    let expected = [b"one", b"two"].map(|data| OwnedPacket::bare(data.to_vec()));
    for (record, packet) in packets.iter().zip(&expected) {
        assert_eq!(Packet::decode(record).expect("a packet"), packet.as_packet());
    }
    assert_eq!(packets.len(), expected.len());
}

#[test]
fn a_lane_starts_its_chain_as_it_always_did() {
    let target: TargetId = "orders.eu".parse().expect("a target id");
    assert_eq!(Chain::start(&target, Lane(5)), Chain(0xf62e_befb_2dd0_a374));
}
