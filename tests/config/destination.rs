//! A handler of kind `http`: its defaults, and what it does not take.

use paquebot::config::HandlerKind;

use super::problems::{FILE, assert_one};
use super::{Rig, SERVER};

/// A handler to put a line under.
const HTTP: &str =
    "[[server.handler]]\nname = 'p'\ntargets = ['p']\nkind = 'http'\nurl = 'http://h/p'\n";

#[test]
fn a_handler_that_posts_has_every_default() {
    let text = SERVER.replace("kind = 'discard'", "kind = 'http'\nurl = 'http://[::1]'");
    let server = Rig::new().config(&text).server.unwrap();
    let HandlerKind::Http(destination) = &server.handlers[0].kind else {
        panic!("{:?}", server.handlers)
    };
    assert_eq!(destination.url, "http://[::1]/");
    assert!(destination.headers.is_empty());
    assert_eq!(destination.rejected_statuses, [400, 413, 415, 422]);
    assert_eq!((destination.timeout.as_secs(), destination.concurrency), (30, 8));
    assert_eq!(server.handlers[0].retry.give_up_after, None);
    let none = text.replace("url", "rejected_statuses = []\nurl");
    let server = Rig::new().config(&none).server.unwrap();
    let HandlerKind::Http(destination) = &server.handlers[0].kind else {
        panic!("{:?}", server.handlers)
    };
    assert!(destination.rejected_statuses.is_empty());
}

#[test]
fn what_it_cannot_do_is_an_error_that_says_so() {
    assert_one(&format!("{SERVER}{HTTP}tls = 1"), "server.handler[1].tls", "not available");
    let text = format!("{SERVER}{HTTP}").replace("http://h", "https://h");
    assert_one(&text, "server.handler[1].url", "not available in this version");
    for key in ["path", "format", "rotate"] {
        let text = format!("{SERVER}{HTTP}{key} = 'x'");
        assert_one(&text, &format!("server.handler[1].{key}"), "without effect");
    }
}

#[test]
fn its_keys_are_an_error_where_nobody_is_asked() {
    for (handler, at) in [("", 0), (FILE, 1)] {
        for key in ["url", "headers", "rejected_statuses", "timeout", "concurrency"] {
            let text = format!("{SERVER}{handler}{key} = 'x'");
            assert_one(&text, &format!("server.handler[{at}].{key}"), "without effect: only a");
        }
        for key in ["command", "mode", "level"] {
            let text = format!("{SERVER}{handler}{key} = 'x'");
            assert_one(&text, &format!("server.handler[{at}].{key}"), "without effect: only a");
        }
        let text = format!("{SERVER}{handler}retry = {{ give_up_after = '1 day' }}");
        let key = if handler.is_empty() { "retry" } else { "retry.give_up_after" };
        assert_one(&text, &format!("server.handler[{at}].{key}"), "without effect");
    }
}

#[test]
fn a_value_that_makes_no_request_is_an_error_that_says_what_does() {
    let text = format!("{SERVER}{HTTP}").replace("url", "#");
    assert_one(&text, "server.handler[1].url", "expected a URL");
    let handler = [
        ("timeout = '0 s'", "timeout", "from 1 ms to 1 day"),
        ("concurrency = 0", "concurrency", "from 1 to 1000"),
        ("rejected_statuses = [200]", "rejected_statuses[0]", "from 300 to 599"),
        ("headers = 'x'", "headers", "expected a table of headers"),
        ("headers = { a = 1 }", "headers.a", "expected a text in visible ASCII"),
        ("headers = { a = \"x\\n\" }", "headers.a", "expected a text in visible ASCII"),
        ("headers = { 'a b' = 'x' }", "headers.a b", "the name of a header that goes"),
        ("headers = { Upgrade = 'x' }", "headers.Upgrade", "the name of a header that goes"),
        ("headers = { Content-Type = 'x' }", "headers.Content-Type", "does not send itself"),
        ("headers = { paquebot-x = 'x' }", "headers.paquebot-x", "does not send itself"),
        ("retry = { give_up_after = '0 s' }", "retry.give_up_after", "found \"0 s\""),
    ];
    for (line, key, said) in handler {
        assert_one(&format!("{SERVER}{HTTP}{line}"), &format!("server.handler[1].{key}"), said);
    }
    for url in ["h", "/p", "http://", "ftp://h/", "http://me:secret@h/", "http://h/#x"] {
        let text = format!("{SERVER}{HTTP}").replace("http://h/p", url);
        assert_one(
            &text,
            "server.handler[1].url",
            &format!("http://host/path, with a port if need be, found {url:?}"),
        );
    }
}
