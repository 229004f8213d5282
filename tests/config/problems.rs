//! Every kind of problem, and all of them at once.

use paquebot::config::{Colour, Environment};
use proptest::prelude::*;

use super::{CLIENT, Rig, SERVER};

/// A source and a handler to put a line under.
const SOURCE: &str = "[[client.source]]\nname = 'a'\nkind = 'http'\nlisten = '127.0.0.1:2'\n";
pub(super) const FILE: &str =
    "[[server.handler]]\nname = 'f'\ntargets = ['f']\nkind = 'file'\npath = 'f'\n";

/// Loads `text` and expects just one error, of `key`, with `said` in it.
pub(super) fn assert_one(text: &str, key: &str, said: &str) {
    let found = Rig::new().problems(text);
    let errors: Vec<_> = found.iter().filter(|line| line.contains(" error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}\n{found:#?}");
    assert!(errors[0].contains(&format!(" error: {key}: ")), "{text}\n{errors:?}");
    assert!(errors[0].contains(said), "{text}\nexpected {said:?}\n{errors:?}");
}

#[test]
fn an_unknown_key_is_an_error_with_the_nearest_known_one() {
    for (text, key, hint) in [
        (format!("clinet = 1\n{CLIENT}"), "clinet", "(did you mean `client`?)"),
        (format!("{CLIENT}max_packet_byte = 1"), "client.max_packet_byte", "`max_packet_bytes`?"),
        (format!("{CLIENT}[client.spool]\nwhenfull = 1"), "client.spool.whenfull", "`when_full`?"),
        (format!("{CLIENT}{SOURCE}lisen = 1"), "client.source[0].lisen", "`listen`?"),
        (format!("{CLIENT}reconnect = {{ mx = 1 }}"), "client.reconnect.mx", "or `max`"),
        (format!("{SERVER}target = 1"), "server.handler[0].target", "(did you mean `targets`?)"),
        (format!("{SERVER}[admin]\nlissten = 1"), "admin.lissten", "`listen`?"),
        (format!("{SERVER}[metrics]\nzzz = 1"), "metrics.zzz", "expected `max_targets`"),
    ] {
        assert_one(&text, key, "unknown key");
        assert_one(&text, key, hint);
    }
}

#[test]
fn nothing_is_guessed_when_nothing_is_near() {
    let found = Rig::new().problems(format!("{CLIENT}colour = 1\n"));
    assert_eq!(found.len(), 1);
    assert!(!found[0].contains("did you mean"), "{found:?}");
}

#[test]
fn a_key_or_value_of_a_later_version_is_an_error_that_says_so() {
    let text = format!("{CLIENT}token_file = 1");
    assert_one(&text, "client.token_file", "not available in this version");
    for text in [
        format!("{CLIENT}tls = {{ ca = 'x' }}"),
        format!("{CLIENT}[client.tls]\nca = 'x'"),
        format!("{CLIENT}tls.ca = 'x'"),
    ] {
        assert_one(&text, "client.tls", "not available in this version");
    }
    for key in ["token_file", "tls"] {
        let text = format!("{CLIENT}{SOURCE}{key} = 1");
        assert_one(&text, &format!("client.source[0].{key}"), "not available in this version");
    }
    for key in ["tls = {}", "client = []"] {
        let text = SERVER.replacen("[server]\n", &format!("[server]\n{key}\n"), 1);
        let key = key.split(' ').next().unwrap();
        assert_one(&text, &format!("server.{key}"), "not available in this version");
    }
    let text = format!("{SERVER}[admin]\ntoken_file = 'x'");
    assert_one(&text, "admin.token_file", "not available in this version");
}

#[test]
fn a_word_that_is_none_is_told_with_those_that_are() {
    let text = format!("{CLIENT}[[client.policy]]\ntargets = ['a']\npriority = 'urgent'");
    assert_one(&text, "client.policy[0].priority", "or \"low\", found \"urgent\"");
    let text = format!("{SERVER}{FILE}").replace("path = 'f'", "path = '{lane}'");
    assert_one(&text, "server.handler[1].path", "no other braces than {target} and {client}");
}

#[test]
fn rotation_needs_a_reason_and_sensible_values() {
    for (rotate, key, said) in [
        ("1", "", "expected a table"),
        ("{}", ".size", "expected `size`, `every` or both, found no such key"),
        ("{ keep = 3, compress = true }", ".size", "expected `size`, `every` or both"),
        ("{ size = '1 B' }", ".size", "at least 1 KiB, found \"1 B\""),
        ("{ size = 1024 }", ".size", "expected a size"),
        ("{ every = '1 ms' }", ".every", "at least 1 s, found \"1 ms\""),
        ("{ size = '1 MiB', keep = 0 }", ".keep", "from 1 to 100000, found the number 0"),
        ("{ size = '1 MiB', compress = 'gzip' }", ".compress", "expected true or false"),
        ("{ size = '1 MiB', age = '1 day' }", ".age", "unknown key"),
    ] {
        let text = format!("{SERVER}{FILE}rotate = {rotate}");
        assert_one(&text, &format!("server.handler[1].rotate{key}"), said);
    }
}

#[test]
fn a_key_without_effect_is_an_error_with_the_reason() {
    let text = format!("{CLIENT}{SOURCE}target = 'x'");
    assert_one(&text, "client.source[0].target", "without effect: each request names the target");
    for key in ["path", "format", "rotate"] {
        let text = format!("{SERVER}{key} = 'x'");
        assert_one(&text, &format!("server.handler[0].{key}"), "without effect");
    }
    for kind in ["kind = 'discard'", "kind = 'log'"] {
        let text = format!("{SERVER}retry = {{ max = '1 min' }}").replace("kind = 'discard'", kind);
        assert_one(&text, "server.handler[0].retry", "without effect: a handler of kind");
    }
    let text = format!("{CLIENT}reconnect = {{ give_up_after = '1 day' }}");
    assert_one(&text, "client.reconnect.give_up_after", "unknown key");
}

#[test]
fn a_missing_key_is_an_error_that_says_what_it_should_hold() {
    for (text, key, said) in [
        (CLIENT.replace("data_dir = 'c'\n", ""), "client.data_dir", "expected a path"),
        (CLIENT.replace("servers = ['s:1']\n", ""), "client.servers", "expected a list, each"),
        (CLIENT.replace("'s:1'", ""), "client.servers", "found an empty list"),
        (SERVER.replace("listen = '127.0.0.1:1'\n", ""), "server.listen", "expected an address"),
        (SERVER.replace("data_dir = 's'\n", ""), "server.data_dir", "expected a path"),
        (SERVER.replace("name = 'h'\n", ""), "server.handler[0].name", "expected a name"),
        (SERVER.replace("'>'", ""), "server.handler[0].targets", "found an empty list"),
        (SERVER.replace("kind = 'discard'\n", ""), "server.handler[0].kind", "\"log\" or"),
        (format!("{SERVER}{FILE}").replace("path = 'f'\n", ""), "server.handler[1].path", "path"),
    ] {
        assert_one(&text, key, said);
    }
    for text in ["", "[admin]\n", "# nothing"] {
        let found = Rig::new().problems(text);
        assert_eq!(
            found,
            [": error: expected a [client] part, a [server] part or both, found no such key"]
        );
    }
}

#[test]
fn a_value_of_the_wrong_type_unit_or_range_is_an_error_that_says_both() {
    let client = [
        ("id = true", "id", "found the truth value true"),
        ("id = ''", "id", "found \"\""),
        ("ping = '10'", "ping", "found \"10\""),
        ("ping = '10 sec'", "ping", "ms, s, min, h or day"),
        ("ping = '0 s'", "ping", "from 1 ms to 1 day, found \"0 s\""),
        ("ping = 1.5", "ping", "found the number 1.5"),
        ("ping = 2026-11-23", "ping", "found the date 2026-11-23"),
        ("ping = []", "ping", "found a list"),
        ("ping = {}", "ping", "found a table"),
        ("silence = '25 h'", "silence", "found \"25 h\""),
        ("silence = '10 s'", "silence", "expected more than `client.ping`, which is 10 s"),
        ("ping = '30 s'", "ping", "expected less than `client.silence`, which is 30 s"),
        ("max_packet_bytes = '0 B'", "max_packet_bytes", "from 1 B to 16 MiB, found \"0 B\""),
        ("max_packet_bytes = '17 MiB'", "max_packet_bytes", "found \"17 MiB\""),
        ("max_packet_bytes = 1024", "max_packet_bytes", "found the number 1024"),
        ("reconnect = { initial = '1 min' }", "reconnect.max", "`initial`: 1 min, found 30 s"),
        ("reconnect = '1 s'", "reconnect", "expected a table [client.reconnect]"),
        ("spool.max_bytes = '15 MiB'", "spool.max_bytes", "at least 16 MiB"),
        ("spool.max_lanes = 0", "spool.max_lanes", "from 1 to 100000, found the number 0"),
        ("spool.max_lanes = -1", "spool.max_lanes", "found the number -1"),
        ("spool.retire_after = '0 s'", "spool.retire_after", "found \"0 s\""),
        ("spool.retire_after = 7", "spool.retire_after", "found the number 7"),
        ("spool.when_full = 'panic'", "spool.when_full", "or \"drop-oldest\", found \"panic\""),
        ("separate_ledgers = 1", "separate_ledgers", "true or false"),
        ("source = 1", "source", "expected an array of tables [[client.source]]"),
        ("source = [1]", "source[0]", "expected an array of tables [[client.source]]"),
        ("source.name = 'a'", "source", "found a table"),
    ];
    for (line, key, said) in client {
        assert_one(&format!("{CLIENT}{line}"), &format!("client.{key}"), said);
    }
    let server = [
        ("insecure = 'yes'", "insecure", "expected true or false"),
        ("max_connections = 0", "max_connections", "from 1 to 1000000"),
        ("memory = '1 kB'", "memory", "at least 1 MiB"),
        ("memory = '1 MiB'\nmax_packet_bytes = '2 MiB'", "memory", "which is 2 MiB, found 1 MiB"),
        ("unknown_target = 'drop'", "unknown_target", "expected \"dead-letter\" or \"hold\""),
    ];
    for (line, key, said) in server {
        let text = SERVER.replacen("[server]\n", &format!("[server]\n{line}\n"), 1);
        assert_one(&text, &format!("server.{key}"), said);
    }
    assert_one("client = 1", "client", "expected a table [client], found the number 1");
    let text = SERVER.replace("'>'", "'a..b'");
    assert_one(&text, "server.handler[0].targets[0]", "found an empty token");
    let text = format!("{SERVER}{FILE}retry = {{ initial = '6 min' }}");
    assert_one(&text, "server.handler[1].retry.max", "found 5 min");
    assert_one(&format!("{SERVER}[metrics]\nmax_targets = 'x'"), "metrics.max_targets", "whole");
    let text = format!("{CLIENT}{SOURCE}allow_origins = ['*']");
    assert_one(&text, "client.source[0].allow_origins[0]", "the origin of a web page");
    let long = "x".repeat(200);
    let text = format!("{CLIENT}{SOURCE}").replace("127.0.0.1:2", &format!("unix:/{long}"));
    assert_one(&text, "client.source[0].listen", "at most 107 bytes");
}

#[test]
fn an_address_is_a_host_and_a_port() {
    for bad in ["s", "s:", ":1", "s:0", "s:65536", "s:+1", "::1:1", "[s]:1", "1.2.3:1", "s s:1"] {
        let text = CLIENT.replace("s:1", bad);
        assert_one(&text, "client.servers[0]", &format!("found {bad:?}"));
    }
    for good in ["s:1", "S-1.example:65535", "[fe80::1]:1", "1.2.3.4:1", "s_1:7035"] {
        Rig::new().config(&CLIENT.replace("s:1", good));
    }
}

#[test]
fn a_server_beyond_this_machine_is_an_error_unless_it_is_insecure_on_purpose() {
    for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "box:1"] {
        let text = SERVER.replace("127.0.0.1:1", open);
        assert_one(&text, "server.listen", "`insecure = true`");
        let text = text.replacen("[server]\n", "[server]\ninsecure = true\n", 1);
        Rig::new().config(&text);
    }
    for closed in ["127.8.8.8:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1"] {
        Rig::new().config(&SERVER.replace("127.0.0.1:1", closed));
    }
}

#[test]
fn what_only_one_may_have_is_an_error_the_second_time() {
    let twice = |part: &str, from: &str, to: &str| format!("{part}{}", part.replace(from, to));
    let both = format!("{CLIENT}{SERVER}");
    let file = FILE.replace("path = 'f'", "path = '../f/./x'");
    let same_file = "[[server.handler]]\nname = 'g'\ntargets = ['g']\nkind = 'file'\n\
                     path = '../f/y/../x'\n";
    for (text, key, said) in [
        (
            format!("{CLIENT}{}", twice(SOURCE, ":2", ":3")),
            "client.source[1].name",
            "which `client.source[0].name` has already",
        ),
        (
            format!("{SERVER}[[server.handler]]\nname = 'h'\ntargets = ['x']\nkind = 'discard'"),
            "server.handler[1].name",
            "expected a name of its own, found \"h\"",
        ),
        (
            format!("{SERVER}[[server.handler]]\nname = 'i'\ntargets = ['>']\nkind = 'discard'"),
            "server.handler[1].targets[0]",
            "`server.handler[0].targets[0]` has already",
        ),
        (SERVER.replace("['>']", "['a', 'a']"), "server.handler[0].targets[1]", "a pattern"),
        (format!("{SERVER}{file}{same_file}"), "server.handler[2].path", "a file of its own"),
        (both.replace("'s'\n", "'./c'\n"), "server.data_dir", "`client.data_dir` has already"),
        (CLIENT.replace("'s:1'", "'s:1', 's:1'"), "client.servers[1]", "expected each entry once"),
        (
            format!("{CLIENT}{SOURCE}").replace("127.0.0.1:2", "unix:c/admin.sock"),
            "client.source[0].listen",
            "`client.data_dir` has already",
        ),
        (
            format!("{CLIENT}{SOURCE}allow_origins = ['http://a', 'http://A']"),
            "client.source[0].allow_origins[1]",
            "expected each entry once",
        ),
    ] {
        assert_one(&text, key, said);
    }
}

#[test]
fn two_listeners_never_share_a_port() {
    let text = |source: &str, server: &str| {
        let both = format!("{CLIENT}{SOURCE}{SERVER}").replace("127.0.0.1:2", source);
        both.replacen("listen = '127.0.0.1:1'", &format!("listen = '{server}'"), 1)
    };
    for (source, server) in [
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "127.0.0.1:1"),
        ("localhost:1", "127.0.0.1:1"),
        ("[::1]:1", "localhost:1"),
        ("[::ffff:127.0.0.1]:1", "127.0.0.1:1"),
    ] {
        assert_one(&text(source, server), "server.listen", "expected an address of its own");
    }
    for (source, server) in [
        ("127.0.0.1:2", "127.0.0.1:1"),
        ("127.0.0.2:1", "127.0.0.1:1"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("unix:a", "127.0.0.1:1"),
    ] {
        Rig::new().config(&text(source, server));
    }
    let text = format!("{SERVER}[admin]\nlisten = '127.0.0.1:1'");
    assert_one(&text, "admin.listen", "`server.listen` has already");
    let text = format!("{SERVER}[admin]\nlisten = '0.0.0.0:1'");
    assert_one(&text, "admin.listen", "`server.listen` has already");
    let text = format!("{}[admin]", SERVER.replace("127.0.0.1:1", "127.0.0.1:7037"));
    assert_one(&text, "admin.listen", "found 127.0.0.1:7037");
}

#[test]
fn all_problems_are_shown_in_the_order_of_their_lines() {
    let text = "[client]\nid = 'a b'\nservers = ['s:1', 's', 7]\npnig = 1\nping = 10\n\
                [client.spool]\nwhen_full = 'blok'\n[[client.source]]\nkind = 'tale'\n\
                [server]\nlisten = '0.0.0.0:1'\nmax_packet_bytes = '17 MiB'\n\
                [[server.handler]]\nname = 'h'\ntargets = ['>', 'a..b']\nkind = 'discard'\n\
                [[server.handler]]\nname = 'h'\ntargets = ['>']\nkind = 'file'\npath = ''\n\
                [admin]\ntoken_file = 'x'\n[other]\n";
    let found = Rig::new().problems(text);
    let heads: Vec<_> = found
        .iter()
        .map(|line| line.splitn(6, ": ").take(3).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        heads,
        [
            ":1:1: error: client.data_dir",
            ":2:6: error: client.id",
            ":3:19: error: client.servers[1]",
            ":3:24: error: client.servers[2]",
            ":4:1: error: client.pnig",
            ":5:8: error: client.ping",
            ":7:13: error: client.spool.when_full",
            ":8:1: error: client.source[0].name",
            ":9:8: error: client.source[0].kind",
            ":10:1: error: server.data_dir",
            ":11:10: error: server.listen",
            ":12:20: error: server.max_packet_bytes",
            ":15:17: error: server.handler[0].targets[1]",
            ":18:8: error: server.handler[1].name",
            ":19:12: error: server.handler[1].targets[0]",
            ":21:8: error: server.handler[1].path",
            ":23:14: error: admin.token_file",
            ":24:2: error: other",
        ]
    );
}

#[test]
fn mistakes_in_the_toml_are_all_shown_with_the_values_that_are_wrong_anyway() {
    let text = "[client]\nping = 10 s\nsilence =\nid = 'a b'\nid = 'c'\n[server\nlisten = 'x'\n";
    assert_eq!(
        Rig::new().problems(text),
        [
            ":2:8: error: expected TOML, found: string values must be quoted, expected literal string \
         at \"10 s\"",
            ":3:10: error: expected TOML, found: string values must be quoted, expected literal string",
            ":4:6: error: client.id: expected a client's id: 1 to 64 of A-Z a-z 0-9 . _ -, found \
         \"a b\"",
            ":5:1: error: expected TOML, found: duplicate key at \"id\"",
            ":6:8: error: expected TOML, found: unclosed table, expected `]`",
        ]
    );
}

#[test]
fn a_mistake_that_the_parser_meets_many_times_is_shown_once() {
    let found = Rig::new().problems(format!("{CLIENT}id = [[[[\n"));
    assert_eq!(found, [":4:10: error: expected TOML, found: unclosed array, expected `]`"]);
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_or_the_picture_panic(
        text in "(\\[{1,2}(client|server|client\\.source|server\\.handler|admin)\\]{1,2}\n|\
                 (listen|name|kind|targets|id|data_dir|retry|spool|x) ?= ?\
                 ('[a-z$\\{\\}:0-9.>*]{0,8}'|[0-9]{1,20}|\\[|\\]|\\{|\"\"\"|\\PC{0,4}|true)\r?\n\
                 |\t|\\PC{0,6}){0,12}"
    ) {
        let loaded = Rig::new().load(&text);
        let problems = match &loaded { Ok(loaded) => &loaded.warnings, Err(problems) => problems };
        prop_assert_eq!(loaded.is_err(), problems.has_errors());
        let _ = (problems.render(Colour::Ansi), problems.to_string());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let rig = Rig::new();
        let path = rig.write("config.toml", &bytes);
        if let Err(problems) = paquebot::config::load(&path, &Environment::default()) {
            prop_assert!(!problems.render(Colour::None).is_empty());
        }
    }
}
