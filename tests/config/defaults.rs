//! What a valid file means: defaults, values, paths.

use std::time::Duration;

use paquebot::config::{
    Address, DeadLetters, FileFormat, HandlerKind, Listen, Policy, Reach, RetryPolicy, Rotate,
    SourceKind, UnknownTarget, WhenDeadLettersFull, WhenFull,
};

use paquebot_actors::handler::PathTemplate;

use super::{CLIENT, Rig, SERVER};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_client_of_three_lines_has_every_default() {
    let rig = Rig::new();
    let config = rig.config(CLIENT);
    assert_eq!(config.path, rig.path("config.toml"));
    assert_eq!((config.server, config.admin), (None, None));
    assert_eq!(config.metrics.max_targets, 200);
    let client = config.client.unwrap();
    assert_eq!(client.id.as_str(), "box");
    assert_eq!(client.data_dir, rig.path("c"));
    assert_eq!(client.servers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["s:1"]);
    assert_eq!(client.max_packet_bytes, MIB);
    assert_eq!((client.ping, client.silence), (Duration::from_secs(10), Duration::from_secs(30)));
    let reconnect = RetryPolicy {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(30),
        give_up_after: None,
    };
    assert_eq!(client.reconnect, reconnect);
    assert_eq!(client.spool.max_bytes, 1024 * MIB);
    assert_eq!(client.spool.when_full, WhenFull::Reject);
    assert_eq!(client.spool.max_lanes, 100_000);
    assert_eq!(client.spool.retire_after, Duration::from_hours(7 * 24));
    assert_eq!((client.policies, client.separate_ledgers), (vec![], false));
    assert_eq!(client.sources, []);
}

#[test]
fn a_server_of_one_handler_has_every_default() {
    let rig = Rig::new();
    let loaded = rig.load(SERVER).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    assert_eq!(loaded.config.client, None);
    let server = loaded.config.server.unwrap();
    assert_eq!(server.listen.to_string(), "127.0.0.1:1");
    assert_eq!(server.data_dir, rig.path("s"));
    assert_eq!((server.max_packet_bytes, server.memory), (MIB, 256 * MIB));
    assert_eq!(server.max_connections, 20_000);
    assert_eq!(server.unknown_target, UnknownTarget::DeadLetter);
    let when_full = WhenDeadLettersFull::Pause;
    let kept = DeadLetters { max_bytes: 1024 * MIB, max_age: None, when_full };
    assert_eq!(server.dead_letters, kept);
    let [handler] = server.handlers.as_slice() else { panic!("{:?}", server.handlers) };
    assert_eq!(handler.kind, HandlerKind::Discard);
    let retry = RetryPolicy {
        initial: Duration::from_secs(1),
        max: Duration::from_mins(5),
        give_up_after: None,
    };
    assert_eq!(handler.retry, retry);
}

#[test]
fn every_key_is_taken_as_it_is_written() {
    let rig = Rig::new();
    let config = rig.config(
        r#"
        [client]
        id = "till-17"
        data_dir = "/var/lib/./paquebot"
        servers = ["a.example:7035", "[::1]:7035", "10.0.0.1:7035"]
        max_packet_bytes = "16 MiB"
        ping = "50ms"
        silence = "1 s"
        reconnect = { initial = "5 ms", max = "5 ms" }
        separate_ledgers = true
        [[client.policy]]
        targets = ["alarm.>", "till.*"]
        ttl = "2 h"
        when_full = "drop-oldest"
        max_bytes = "1 MiB"
        [client.spool]
        max_bytes = "64 MiB"
        when_full = "block"
        max_lanes = 7
        retire_after = "90 min"
        [[client.source]]
        name = "socket"
        kind = "http"
        listen = "unix:run/in.sock"
        [[client.source]]
        name = "tcp"
        kind = "http"
        listen = "localhost:0"
        max_connections = 0x10
        ttl = "1 day"
        allow_origins = ["https://Shop.example:8443"]
        [server]
        listen = "0.0.0.0:7035"
        insecure = true
        data_dir = "../s"
        max_packet_bytes = "1 B"
        max_connections = 1
        memory = "1 MiB"
        unknown_target = "hold"
        dead_letters = { max_bytes = "2 MiB", max_age = "90 day", when_full = "drop-oldest" }
        [[server.handler]]
        name = "orders"
        targets = ["orders.>", "*.order"]
        kind = "file"
        path = "out/orders"
        format = "raw"
        rotate = { size = "64 MiB", every = "1 day", keep = 7, compress = true }
        retry = { max = "30 s" }
        [[server.handler]]
        name = "alarms"
        targets = ["alarm.*"]
        kind = "http"
        url = "http://hooks.example:8080/alarms?x=1"
        headers = { Authorization = "Bearer 1", x-shop = "north" }
        rejected_statuses = [404]
        timeout = "5 s"
        concurrency = 2
        retry = { give_up_after = "1 day" }
        [admin]
        [metrics]
        max_targets = 0
        "#,
    );
    let client = config.client.unwrap();
    assert_eq!(client.id.as_str(), "till-17");
    assert_eq!(client.data_dir.as_os_str(), "/var/lib/paquebot");
    assert_eq!(
        client.servers.iter().map(Address::host).collect::<Vec<_>>(),
        ["a.example", "::1", "10.0.0.1"]
    );
    assert_eq!(client.max_packet_bytes, 16 * MIB);
    assert_eq!((client.ping.as_millis(), client.silence.as_millis()), (50, 1_000));
    assert_eq!(client.reconnect.initial, client.reconnect.max);
    assert_eq!((client.spool.max_bytes, client.spool.max_lanes), (64 * MIB, 7));
    assert_eq!(client.spool.retire_after, Duration::from_mins(90));
    assert_eq!((client.spool.when_full, client.separate_ledgers), (WhenFull::Block, true));
    let [policy] = client.policies.as_slice() else { panic!("{:?}", client.policies) };
    assert_eq!((policy.targets.len(), policy.ttl), (2, Some(Duration::from_hours(2))));
    assert_eq!((policy.when_full, policy.max_bytes), (Some(WhenFull::DropOldest), Some(MIB)));
    let (in_turn, till) = ("alarm.fire.1".parse().unwrap(), "till.1.2".parse().unwrap());
    assert!(Policy::of(&client.policies, &in_turn).is_some());
    assert!(Policy::of(&client.policies, &till).is_none());
    assert_eq!(client.sources[1].ttl, Some(Duration::from_hours(24)));
    let SourceKind::Http { listen, max_connections, allow_origins, .. } = &client.sources[0].kind
    else {
        panic!("{:?}", client.sources)
    };
    assert_eq!(*listen, Listen::Unix(rig.path("run/in.sock")));
    assert_eq!((*max_connections, allow_origins.len()), (1_024, 0));
    let SourceKind::Http { listen, max_connections, allow_origins, .. } = &client.sources[1].kind
    else {
        panic!("{:?}", client.sources)
    };
    assert_eq!((listen.to_string().as_str(), listen.reach()), ("localhost:0", Reach::Machine));
    assert_eq!(
        (*max_connections, allow_origins.as_slice()),
        (16, &["https://shop.example:8443".to_owned()][..])
    );

    let server = config.server.unwrap();
    assert_eq!(server.data_dir, rig.path("../s"));
    assert_eq!(server.listen.reach(), Reach::Network);
    assert_eq!((server.max_packet_bytes, server.memory), (1, MIB));
    assert_eq!(server.max_connections, 1);
    assert_eq!(server.unknown_target, UnknownTarget::Hold);
    let when_full = WhenDeadLettersFull::DropOldest;
    let max_age = Some(Duration::from_hours(90 * 24));
    assert_eq!(server.dead_letters, DeadLetters { max_bytes: 2 * MIB, max_age, when_full });
    let handler = &server.handlers[0];
    assert_eq!(handler.name, "orders");
    assert_eq!(
        handler.targets.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["orders.>", "*.order"]
    );
    let path = PathTemplate::new(&rig.path("out/orders")).unwrap();
    let rotate = Rotate {
        size: Some(64 * MIB),
        every: Some(Duration::from_hours(24)),
        keep: Some(7),
        compress: true,
    };
    let rotate = Some(rotate);
    assert_eq!(handler.kind, HandlerKind::File { path, format: FileFormat::Raw, rotate });
    assert_eq!((handler.retry.initial.as_secs(), handler.retry.max.as_secs()), (1, 30));

    let HandlerKind::Http(destination) = &server.handlers[1].kind else {
        panic!("{:?}", server.handlers[1])
    };
    assert_eq!(destination.url, "http://hooks.example:8080/alarms?x=1");
    assert_eq!(destination.headers["authorization"], "Bearer 1");
    assert_eq!(destination.headers["x-shop"], "north");
    assert!(!format!("{destination:?}").contains("Bearer"), "a secret would be logged");
    assert_eq!(destination.rejected_statuses, [404]);
    assert_eq!((destination.timeout.as_secs(), destination.concurrency), (5, 2));
    let day = Duration::from_hours(24);
    assert_eq!(server.handlers[1].retry.give_up_after, Some(day));

    assert_eq!(config.admin.unwrap().listen.to_string(), "127.0.0.1:7037");
    assert_eq!(config.metrics.max_targets, 0);
}

#[test]
fn tables_may_stand_in_any_order_and_style() {
    let dotted = "client.source = [{ name = 'a', kind = 'http', listen = '127.0.0.1:2' }]\n\
                  client.spool.max_lanes = 3\n\
                  client.servers = ['s:1']\nclient.data_dir = 'c'\n";
    let client = Rig::new().config(dotted).client.unwrap();
    assert_eq!((client.sources.len(), client.spool.max_lanes), (1, 3));
    let reversed = format!("[client.spool]\nmax_lanes = 3\n{CLIENT}");
    assert_eq!(Rig::new().config(&reversed).client.unwrap().spool.max_lanes, 3);
}

#[test]
fn a_relative_path_to_the_file_becomes_absolute() {
    let config =
        paquebot::config::load("config.toml".as_ref(), &Rig::new().environment()).unwrap().config;
    assert!(config.path.is_absolute(), "{:?}", config.path);
    assert!(config.client.unwrap().data_dir.is_absolute());
}
