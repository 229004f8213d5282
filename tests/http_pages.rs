//! The doors over HTTP and those who knock at the wrong one: web pages that are allowed, asked for and
//! refused; paths at which there is nothing, and methods that a path does not take.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use common::http::{Connection, Reply};
use common::{ALL_TO_FILE, Broker, program};

const SHOP: (&str, &str) = ("origin", "https://shop.example");

fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem = reply.json();
    assert_eq!(problem["type"], format!("urn:paquebot:problem:{code}"), "{problem}");
    assert_eq!(problem["status"], status);
}

fn with_shop() -> Broker {
    let mut broker = Broker::new(ALL_TO_FILE);
    let keys = "kind = \"http\"\nallow_origins = [\"https://shop.example\"]";
    broker.edit("client.toml", "kind = \"http\"", keys);
    broker.start_client();
    broker
}

#[test]
fn an_allowed_page_may_ask_first_and_then_post() {
    let broker = with_shop();
    let asks = [
        SHOP,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type, Paquebot-Header-Till, x-other"),
    ];
    for path in ["/v1/packets/orders", "/v1/packets"] {
        let reply = broker.connect().request("OPTIONS", path, b"", &asks);
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{}", reply.text());
        assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP.1));
        assert_eq!(reply.header("access-control-allow-methods"), Some("POST"));
        assert!(reply.header("access-control-max-age").unwrap().parse::<u64>().unwrap() > 0);
        let names: Vec<_> =
            reply.header("access-control-allow-headers").unwrap().split(", ").collect();
        for name in ["content-type", "idempotency-key", "paquebot-ttl", "paquebot-header-till"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        assert!(!names.contains(&"x-other"), "{names:?}");
        let vary: Vec<_> = reply.headers.iter().filter(|(name, _)| name == "vary").collect();
        assert!(vary.iter().any(|(_, value)| value == "Origin"), "{vary:?}");
    }
    let reply = broker.connect().post("orders", b"x", &[SHOP]);
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP.1));
    assert_eq!(reply.header("vary"), Some("Origin"));
    // A page can read why it was refused, too.
    let reply = broker.connect().post("orders..eu", b"x", &[SHOP]);
    assert_problem(&reply, 400, "bad-target");
    assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP.1));
    let reply = broker.connect().request("GET", "/nowhere", b"", &[SHOP]);
    assert_eq!(reply.header("access-control-allow-origin"), Some(SHOP.1));
    assert_eq!(broker.backlog(), 1);
}

#[test]
fn every_other_page_is_refused_whatever_it_asks() {
    let mut broker = with_shop();
    let evil = ("origin", "https://shop.example.evil");
    let asks = [evil, ("access-control-request-method", "POST")];
    for (method, path) in
        [("OPTIONS", "/v1/packets/a"), ("POST", "/v1/packets/a"), ("POST", "/v1/packets")]
    {
        let reply = broker.connect().request(method, path, b"x", &asks);
        assert_problem(&reply, 403, "forbidden");
        assert_eq!(reply.header("access-control-allow-origin"), None);
        assert_eq!(reply.header("vary"), Some("Origin"), "no cache gives it to the shop");
    }
    assert_eq!(broker.post("a", "x").header("access-control-allow-origin"), None, "no page");
    assert_eq!(broker.backlog(), 1);
    // Where no page is named, none is let in.
    broker.stop_client();
    broker.edit("client.toml", "allow_origins", "#allow_origins");
    broker.start_client();
    let asks = [SHOP, ("access-control-request-method", "POST")];
    let reply = broker.connect().request("OPTIONS", "/v1/packets/a", b"", &asks);
    assert_problem(&reply, 403, "forbidden");
}

#[test]
fn what_is_not_there_is_said_as_a_problem_on_every_door() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    broker.start_server();
    for port in [broker.source_port, broker.client_admin_port, broker.server_admin_port] {
        let reply = Connection::open(port).request("GET", "/v1/nothing", b"", &[]);
        assert_problem(&reply, 404, "not-found");
        assert_eq!(reply.json()["path"], "/v1/nothing");
    }
    let reply = broker.connect().request("GET", "/v1/packets/a", b"", &[]);
    assert_problem(&reply, 405, "method-not-allowed");
    assert_eq!(reply.header("allow"), Some("POST"));
    let reply = broker.connect().request("DELETE", "/v1/packets", b"", &[]);
    assert_problem(&reply, 405, "method-not-allowed");
    let mut admin = Connection::open(broker.server_admin_port);
    let reply = admin.request("DELETE", "/v1/status", b"", &[]);
    assert_problem(&reply, 405, "method-not-allowed");
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
}

#[test]
fn a_command_that_meets_the_wrong_side_says_so() {
    let mut broker = Broker::new(ALL_TO_FILE);
    broker.start_client();
    broker.start_server();
    let at = |port: u16| format!("http://127.0.0.1:{port}");
    let (client, server) = (at(broker.client_admin_port), at(broker.server_admin_port));
    let mut asked = program();
    let asked = asked.args(["handlers", "list"]).env("PAQUEBOT_ADMIN", client).output();
    let mut sent = program();
    let sent = sent.args(["send", "a", "x", "--client"]).arg(server).output();
    for (done, hint) in
        [(asked.unwrap(), "a client where a server is meant?"), (sent.unwrap(), "is it a client?")]
    {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(69), "{said}");
        assert!(said.contains(hint), "{said}");
    }
}
