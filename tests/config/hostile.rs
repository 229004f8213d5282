//! Any text at all as a config: an error or a config, never a panic. The fuzz target `config` runs
//! the same driver for longer.

use super::driver;
use proptest::prelude::*;

/// Pieces that configs are made of, so that some of what comes out means something.
const PIECES: [&str; 40] = [
    "[client]\n",
    "[server]\n",
    "[admin]\n",
    "[metrics]\n",
    "[client.spool]\n",
    "[[client.source]]\n",
    "[[server.handler]]\n",
    "data_dir = ",
    "servers = ",
    "listen = ",
    "name = ",
    "kind = ",
    "path = ",
    "targets = ",
    "retry = ",
    "max_bytes = ",
    "max_connections = ",
    "reconnect = { initial = ",
    "'data'",
    "\"127.0.0.1:7035\"",
    "\"[::1]:0\"",
    "['a.*', \">\"]",
    "\"http\"",
    "\"file\"",
    "\"unix:/x\"",
    "\"${HOME:-x}\"",
    "\"${file:/dev/null}\"",
    "\"$${\"",
    "\"${\"",
    "\"18446744073709551616 B\"",
    "\"1 MiB\"",
    "\"9999999999999999 day\"",
    "-9223372036854775808",
    "1e400",
    "{ a = 1, a = 2 }",
    "\"\\u0000\"",
    "\u{feff}",
    "é = \"ü\u{301}\"",
    "\n",
    " = ",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => "\\PC{0,12}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_causes_a_panic(text in text()) {
        driver::drive(text.as_bytes());
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        driver::drive(&bytes);
    }

    #[test]
    fn no_damage_to_the_shipped_config_causes_a_panic(
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = include_bytes!("../../config.toml").to_vec();
        for (at, byte) in damages {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        driver::drive(&bytes);
    }
}
