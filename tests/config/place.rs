//! Where a problem is said to be, and how it is shown.

use paquebot::config::{Colour, Environment, Fault, Place, load};

use super::{CLIENT, Rig};

#[test]
fn line_and_column_are_those_of_the_value() {
    let text = format!("# Fähre\n{CLIENT}id = 'ä' \n  ping   =  10\n");
    assert_eq!(
        Rig::new().problems(text),
        [
            ":5:6: error: client.id: expected a client's id: 1 to 64 of A-Z a-z 0-9 . _ -, \
         found \"ä\"",
            ":6:13: error: client.ping: expected a duration: a number and ms, s, min, h or day, such \
         as \"10 s\", from 1 ms to 1 day, found the number 10",
        ]
    );
}

#[test]
fn columns_count_characters_not_bytes() {
    let text = "[client]\ndata_dir = 'c'\nservers = ['s:1']\n\
                spool = { \"ä\" = 1, max_lanes = 'x' }\n";
    assert_eq!(
        Rig::new().problems(text),
        [
            ":4:11: error: client.spool.ä: unknown key, expected `max_bytes`, `when_full`, \
         `max_lanes` or `retire_after`",
            ":4:32: error: client.spool.max_lanes: expected a whole number, from 1 to 100000, \
         found \"x\"",
        ]
    );
}

#[test]
fn a_missing_key_is_shown_at_the_head_of_its_table() {
    let found = Rig::new().problems("\n  [client]\nservers = ['s:1']\n");
    assert_eq!(found, [":2:3: error: client.data_dir: expected a path, found no such key"]);
}

#[test]
fn windows_line_breaks_and_a_byte_order_mark_change_nothing() {
    let text = format!("\u{feff}{CLIENT}id = 1\n").replace('\n', "\r\n");
    let found = Rig::new().problems(text);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(":4:6: error: client.id: "), "{found:?}");
    assert!(Rig::new().load(format!("\u{feff}{CLIENT}")).is_ok());
}

#[test]
fn the_picture_has_file_line_column_key_and_a_hint() {
    let rig = Rig::new();
    let problems = rig.load(format!("{CLIENT}pnig = '5 s'\n")).unwrap_err();
    let path = rig.path("config.toml");
    let picture = problems.render(Colour::None);
    let expected = format!(
        "error: client.pnig: unknown key, expected `id`, `data_dir`, `max_packet_bytes`, \
         `source`, `spool`, `servers`, `ping`, `silence`, `reconnect`, \
         `policy` or `separate_ledgers`\n \
         --> {}:4:1\n  |\n4 | pnig = '5 s'\n  | ^^^^\n  |\n  = help: did you mean `ping`?\n\n",
        path.display()
    );
    assert_eq!(picture, expected);
}

#[test]
fn the_picture_of_a_second_use_shows_the_first() {
    let text = format!(
        "{CLIENT}[[client.source]]\nname = 'a'\nkind = 'http'\nlisten = '127.0.0.1:2'\n\
         [[client.source]]\nname = 'a'\nkind = 'http'\nlisten = '127.0.0.1:3'\n"
    );
    let picture = Rig::new().load(text).unwrap_err().render(Colour::None);
    assert!(picture.contains("config.toml:9:8\n"), "{picture}");
    assert!(picture.contains("::: ") && picture.contains("config.toml:5:8\n"), "{picture}");
    assert!(picture.contains("-- here already"), "{picture}");
}

#[test]
fn colour_is_only_used_on_request() {
    let problems = Rig::new().load("[client]\n").unwrap_err();
    assert!(problems.render(Colour::Ansi).contains("\u{1b}["));
    assert!(!problems.render(Colour::None).contains('\u{1b}'));
    assert!(!problems.to_string().contains('\u{1b}'));
}

#[test]
fn what_a_value_holds_cannot_command_a_terminal() {
    let problems = Rig::new().load(format!("{CLIENT}id = \"\\u001b[31m\"\n")).unwrap_err();
    assert!(!problems.to_string().contains('\u{1b}'));
    assert!(!problems.render(Colour::None).contains('\u{1b}'));
}

#[test]
fn a_problem_can_be_asked_for_its_fault_and_position() {
    let problems = Rig::new().load(format!("{CLIENT}tls = {{}}\n")).unwrap_err();
    let found: Vec<_> = problems.iter().collect();
    assert_eq!(problems.len(), 1);
    assert_eq!(found[0].key, "client.tls");
    assert_eq!(found[0].fault, Fault::KeyNotAvailable);
    let position = problems.position(found[0]).unwrap();
    assert_eq!((position.line, position.column), (4, 7));
    assert!(matches!(found[0].place, Place::Span(_)));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let rig = Rig::new();
    let problems = load(&rig.path("none.toml"), &Environment::default()).unwrap_err().to_string();
    assert!(problems.contains("none.toml: error: expected a readable file, found: "), "{problems}");
    let problems = load(rig.folder.path(), &Environment::default()).unwrap_err().to_string();
    assert!(problems.contains("error: expected a readable file, found: "), "{problems}");
    let large = vec![b'#'; 1024 * 1024 + 1];
    assert_eq!(
        rig.problems(large),
        [": error: expected a readable file, found: more than 1048576 bytes"]
    );
}

#[test]
fn a_file_that_is_not_text_says_where() {
    let found = Rig::new().problems(b"[client]\nid = '\xff'\n");
    assert_eq!(found, [":2:7: error: expected a file in UTF-8, found other bytes"]);
}
