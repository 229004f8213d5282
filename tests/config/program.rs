//! Handlers of kind `exec` and `log`: their defaults, and what they do not take.

use std::path::Path;

use paquebot::config::{HandlerKind, LogLevel, ProgramMode};

use super::problems::assert_one;
use super::{Rig, SERVER};

/// Handlers to put a line under.
const EXEC: &str =
    "[[server.handler]]\nname = 'e'\ntargets = ['e']\nkind = 'exec'\ncommand = ['x']\n";
const LOG: &str = "[[server.handler]]\nname = 'l'\ntargets = ['l']\nkind = 'log'\n";

fn kind(rig: &Rig, keys: &str) -> HandlerKind {
    let text = SERVER.replace("kind = 'discard'", keys);
    rig.config(&text).server.unwrap().handlers.pop().unwrap().kind
}

#[test]
fn a_program_has_every_default_and_is_found_as_shells_do() {
    let rig = Rig::new();
    let HandlerKind::Exec(program) = kind(&rig, "kind = 'exec'\ncommand = ['sh', '-c', './x']")
    else {
        panic!("another kind")
    };
    assert_eq!(program.program, Path::new("sh"));
    assert_eq!(program.arguments, ["-c", "./x"]);
    assert_eq!(program.dir, rig.path("config.toml").parent().unwrap());
    assert_eq!(program.mode, ProgramMode::Packet);
    assert_eq!((program.timeout.as_secs(), program.concurrency), (30, 8));
    let keys = "kind = 'exec'\ncommand = ['./bin/../x']\nmode = 'lines'";
    let HandlerKind::Exec(program) = kind(&rig, keys) else { panic!("another kind") };
    assert_eq!(program.program, rig.path("bin/../x"));
    assert_eq!(program.mode, ProgramMode::Lines);
}

#[test]
fn a_log_has_a_level() {
    let rig = Rig::new();
    assert_eq!(kind(&rig, "kind = 'log'"), HandlerKind::Log { level: LogLevel::Info });
    let error = kind(&rig, "kind = 'log'\nlevel = 'error'");
    assert_eq!(error, HandlerKind::Log { level: LogLevel::Error });
}

#[test]
fn what_they_do_not_take_is_an_error_that_says_so() {
    let without = format!("{SERVER}{EXEC}").replace("command", "#");
    assert_one(&without, "server.handler[1].command", "a list, each entry a text");
    for (command, key, said) in [
        ("[]", "command", "found an empty list"),
        ("['']", "command", "expected a program first, found an empty text"),
        ("'x'", "command", "expected a list"),
        ("[1]", "command[0]", "expected a text"),
        ("[\"a\\u0000\"]", "command[0]", "a text without zero bytes"),
    ] {
        let text = format!("{SERVER}{EXEC}").replace("['x']", command);
        assert_one(&text, &format!("server.handler[1].{key}"), said);
    }
    for (line, key, said) in [
        ("mode = 'line'", "mode", "expected \"packet\" or \"lines\", found \"line\""),
        ("timeout = '0 s'", "timeout", "from 1 ms to 1 day"),
        ("concurrency = 0", "concurrency", "from 1 to 1000"),
        ("url = 'x'", "url", "without effect"),
        ("rotate = {}", "rotate", "without effect"),
        ("level = 'info'", "level", "without effect"),
        ("retry = { give_up_after = '0 s' }", "retry.give_up_after", "found \"0 s\""),
    ] {
        assert_one(&format!("{SERVER}{EXEC}{line}"), &format!("server.handler[1].{key}"), said);
    }
    for (line, key, said) in [
        ("level = 'loud'", "level", "expected \"trace\", \"debug\","),
        ("timeout = '1 s'", "timeout", "without effect"),
        ("command = ['x']", "command", "without effect"),
        ("path = 'x'", "path", "without effect"),
        ("retry = { give_up_after = '1 day' }", "retry", "cannot fail"),
    ] {
        assert_one(&format!("{SERVER}{LOG}{line}"), &format!("server.handler[1].{key}"), said);
    }
}
