//! A later version may know more reasons: an unknown word is an unknown reason, not the end of the
//! connection (R12). An unknown frame is.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use paquebot_protocol::codec::decode_frame;
use paquebot_protocol::frame::{Refused, RefusedCode};
use paquebot_protocol::{Control, Frame};
use serde::Serialize;

#[derive(Serialize)]
struct Later<'a> {
    code: &'a str,
    message: &'a str,
    comes_with_version_two: u8,
}

fn frame(name: &str, code: &str) -> Bytes {
    let later = Later { code, message: "no", comes_with_version_two: 1 };
    let body = std::collections::BTreeMap::from([(name, later)]);
    let mut bytes = Vec::new();
    body.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map()).unwrap();
    bytes.into()
}

#[test]
fn an_unknown_code_and_an_unknown_key_are_taken_and_an_unknown_frame_is_not() {
    let refused = |code| Refused { code, message: "no".into(), retry_after_ms: None };
    let known = Frame::Control(Control::Refused(refused(RefusedCode::Rekey)));
    assert_eq!(decode_frame(&frame("refused", "rekey")).unwrap(), known);
    let unknown = Frame::Control(Control::Refused(refused(RefusedCode::Unknown)));
    assert_eq!(decode_frame(&frame("refused", "out-of-stamps")).unwrap(), unknown);
    assert!(decode_frame(&frame("stamp", "x")).is_err());
}
