//! What `paquebot check` tells, what it warns of, and the file that we ship.

use std::path::Path;

use paquebot::config::{Config, Environment, HandlerKind, SourceKind, check, load};

use super::{CLIENT, Rig, SERVER};

const SHIPPED: &str = include_str!("../../config.toml");

fn report(rig: &Rig, text: &str) -> String {
    let loaded = rig.load(text).unwrap();
    check::report(&loaded.config, &loaded.warnings)
}

#[test]
fn the_report_tells_the_guarantee_of_each_route() {
    let rig = Rig::new();
    let text = format!(
        "{CLIENT}[[client.source]]\nname = 'in'\nkind = 'http'\nlisten = 'unix:in'\n{SERVER}\
         [[server.handler]]\nname = 'orders'\ntargets = ['orders.>', 'x']\nkind = 'file'\n\
         path = 'o'\n[[server.handler]]\nname = 'raw'\ntargets = ['raw']\nkind = 'file'\n\
         path = 'r'\nformat = 'raw'\n\
         rotate = {{ size = '1 MiB', every = '1 day', keep = 2, compress = true }}\n\
         [[server.handler]]\nname = 'hook'\ntargets = ['hook']\n\
         kind = 'http'\nurl = 'http://h/p'\nretry = {{ give_up_after = '1 day' }}\n\
         [[server.handler]]\nname = 'run'\ntargets = ['run']\nkind = 'exec'\n\
         command = ['./run', 'a b']\n[[server.handler]]\nname = 'feed'\ntargets = ['feed']\n\
         kind = 'exec'\ncommand = ['feed']\nmode = 'lines'\n[[server.handler]]\nname = 'note'\n\
         targets = ['note']\nkind = 'log'\nlevel = 'warn'\n"
    );
    let report = report(&rig, &text);
    let path = |name| rig.path(name).display().to_string();
    for said in [
        format!("{} is valid\n", path("config.toml")),
        format!("source in: http on unix:{}\n", path("in")),
        "\"stored\" is said after the fsync that covers the packet".to_owned(),
        "> -> handler h: discard\n    handled means received: nothing is kept\n".to_owned(),
        format!(
            "orders.>, x -> handler orders: file {}\n    exactly once: each packet's line is in \
             the file once, in order per lane, through crashes of both sides\n",
            path("o")
        ),
        "exactly once: each packet's data is in the file once".to_owned(),
        "rotated: before it passes 1 MiB or when its first packet is 1 day old; the last 2 stay, \
         OLDER ONES ARE REMOVED, compressed with gzip\n"
            .to_owned(),
        "hook -> handler hook: http http://h/p\n    at least once, with its id, in order per lane"
            .to_owned(),
        "at once: 8 packets, each of another lane; no answer for 30 s: not handled".to_owned(),
        format!(
            "run -> handler run: exec {} \"a b\"\n    at least once, with its id, in order per lane",
            path("run")
        ),
        "started for each packet: handled means exit code 0, 65 means rejected".to_owned(),
        "8 packets, each of another lane; not done within 30 s: killed with all that it has started"
            .to_owned(),
        "feed -> handler feed: exec feed\n".to_owned(),
        "goes on running: handled means that it answers so".to_owned(),
        "note -> handler note: log\n    at least once: handled means written to the server's log; \
         NOTHING ELSE IS KEPT\n    at level warn, if PAQUEBOT_LOG shows that"
            .to_owned(),
        "rejected: answered with 400, 413, 415, 422: a dead letter".to_owned(),
        "for 1 day since its first failure, then it is a dead letter".to_owned(),
        "any other target: a dead letter".to_owned(),
        "spool full (1 GiB of real file bytes, or 100000 lanes): new packets are refused"
            .to_owned(),
        "packets are kept: until acked".to_owned(),
        "20000 connections, 256 MiB of memory".to_owned(),
        "tried again, after at most 1 s at first and 5 min later, until it works".to_owned(),
    ] {
        assert!(report.contains(&said), "expected {said:?} in\n{report}");
    }
    assert!(!report.contains("http on 127"), "{report}");
}

#[test]
fn the_report_says_who_can_reach_what() {
    let text = SERVER.replace("127.0.0.1:1'", "0.0.0.0:1'\ninsecure = true");
    let text = text.replacen("[server]\n", "[server]\nunknown_target = 'hold'\n", 1);
    let text = text.replace("'>'", "'orders'");
    let report = report(&Rig::new(), &format!("{text}[admin]\nlisten = '0.0.0.0:2'\n"));
    for said in [
        "clients: ANYONE on the network (insecure): no TLS, no authentication",
        "http on 0.0.0.0:2: /metrics, /healthz and /readyz, FOR ANYONE on the network",
        "the rest is only served on admin.sock",
        "any other target: held in its client's spool",
    ] {
        assert!(report.contains(said), "expected {said:?} in\n{report}");
    }
}

#[test]
fn what_the_owner_should_know_is_a_warning() {
    let open =
        format!("{CLIENT}[[client.source]]\nname = 'in'\nkind = 'http'\nlisten = '0.0.0.0:2'\n");
    let tight = format!("{CLIENT}max_packet_bytes = '5 MiB'\nspool.max_bytes = '16 MiB'\n");
    let hasty = SERVER.replace(
        "kind = 'discard'",
        "kind = 'http'\nurl = 'http://h'\nretry = { give_up_after = '1 min' }",
    );
    let idle = "[server]\nlisten = '127.0.0.1:1'\ndata_dir = 's'\n".to_owned();
    for (text, said) in [
        (open, ":7:10: warning: client.source[0].listen: found 0.0.0.0:2, beyond this machine"),
        (tight, ":5:19: warning: client.spool.max_bytes: found 16 MiB, in which fewer than 4"),
        (
            hasty,
            ":9:27: warning: server.handler[0].retry.give_up_after: found 1 min, which ends the",
        ),
        (idle, ":1:1: warning: server.handler: found no handler, so no packet is ever handled"),
    ] {
        let rig = Rig::new();
        let loaded = rig.load(&text).unwrap();
        let lines = super::lines(&loaded.warnings, &rig.path("config.toml"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with(said), "expected {said:?}, found {lines:?}");
        assert!(!loaded.warnings.has_errors());
        let report = check::report(&loaded.config, &loaded.warnings);
        assert!(report.contains("is valid, with 1 warning\n"), "{report}");
    }
}

#[test]
fn the_file_we_ship_is_valid_and_complete() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml");
    assert_eq!(std::fs::read_to_string(&shipped).unwrap(), SHIPPED);
    let loaded = load(&shipped, &Environment::default().with_host_name("box")).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    let Config { client, server, admin, .. } = loaded.config;
    assert!(client.is_some() && server.is_some() && admin.is_some());
}

/// Keys that are commented out begin right after the `#`, prose after a space.
fn written_out() -> String {
    let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line != "#";
    let line = |line: &'static str| if key(line) { &line[1..] } else { line };
    SHIPPED.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_keys_that_we_ship_commented_out_show_their_defaults() {
    let rig = Rig::new().set("PAQUEBOT_CLIENT__ID", "same");
    let written_out = rig.load(written_out()).unwrap();
    assert!(written_out.warnings.is_empty(), "{}", written_out.warnings);
    let mut written_out = written_out.config;
    for name in ["noise", "notes", "labels", "alarms"] {
        let extra = written_out.server.as_mut().unwrap().handlers.pop().unwrap();
        assert_eq!(extra.name, name);
        if let HandlerKind::Http(destination) = &extra.kind {
            let least = SERVER.replace("kind = 'discard'", "kind = 'http'\nurl = 'http://h'");
            let least = Rig::new().config(&least).server.unwrap().handlers.pop().unwrap();
            let HandlerKind::Http(default) = least.kind else { panic!("{:?}", least.kind) };
            assert_eq!(destination.rejected_statuses, default.rejected_statuses);
            assert_eq!(destination.timeout, default.timeout);
            assert_eq!(destination.concurrency, default.concurrency);
        }
        if let HandlerKind::Exec(program) = &extra.kind {
            let least = SERVER.replace("kind = 'discard'", "kind = 'exec'\ncommand = ['x']");
            let least = Rig::new().config(&least).server.unwrap().handlers.pop().unwrap();
            let HandlerKind::Exec(default) = least.kind else { panic!("{:?}", least.kind) };
            assert_eq!((program.mode, program.timeout), (default.mode, default.timeout));
            assert_eq!(program.concurrency, default.concurrency);
        }
        if let HandlerKind::Log { .. } = &extra.kind {
            let least = SERVER.replace("kind = 'discard'", "kind = 'log'");
            let least = Rig::new().config(&least).server.unwrap().handlers.pop().unwrap();
            assert_eq!(extra.kind, least.kind);
        }
    }
    let extra = written_out.client.as_mut().unwrap().sources.pop().unwrap();
    assert_eq!(extra.name, "disk");
    let SourceKind::Host { options, .. } = &extra.kind else { panic!("{extra:?}") };
    let least = format!(
        "{CLIENT}[[client.source]]\nname = 's'\nkind = 'host'\nmetric = 'disk_percent'\n\
         above = 90\ntarget = 't'\n"
    );
    let least = Rig::new().config(&least).client.unwrap().sources.pop().unwrap();
    let SourceKind::Host { options: default, .. } = &least.kind else { panic!("{least:?}") };
    assert_eq!((&options.path, options.lasting), (&default.path, default.lasting));
    assert_eq!(default.clear, default.threshold);
    // The one key whose default, not to rotate, cannot be written.
    let handlers = &mut written_out.server.as_mut().unwrap().handlers;
    let HandlerKind::File { rotate, .. } = &mut handlers[0].kind else { panic!("{handlers:?}") };
    assert!(rotate.take().is_some());
    assert_eq!(written_out, rig.config(SHIPPED));
}

#[test]
fn every_key_of_this_version_stands_in_the_file_we_ship() {
    let all = written_out();
    let bogus = [
        all.replacen("[client]\n", "[client]\nzz = 1\n", 1),
        all.replacen("[client.spool]\n", "[client.spool]\nzz = 1\n", 1),
        all.replacen("[[client.source]]\n", "[[client.source]]\nzz = 1\n", 1),
        all.replacen("[server]\n", "[server]\nzz = 1\n", 1),
        all.replacen("[[server.handler]]\n", "[[server.handler]]\nzz = 1\n", 1),
        all.replacen("kind = \"http\"\nurl", "zz = 1\nkind = \"http\"\nurl", 1),
        all.replacen("kind = \"exec\"\n", "kind = \"exec\"\nzz = 1\n", 1),
        all.replacen("kind = \"log\"\n", "kind = \"log\"\nzz = 1\n", 1),
        all.replacen("[admin]\n", "[admin]\nzz = 1\n", 1),
        all.replacen("[metrics]\n", "[metrics]\nzz = 1\n", 1),
    ];
    for text in bogus {
        let found = Rig::new().problems(&text);
        // The problem lists the keys of its table: each of them has to stand in the file.
        let listed: Vec<_> = found[0].split('`').skip(1).step_by(2).collect();
        assert!(!listed.is_empty(), "{found:?}");
        for key in listed {
            let stands = |line: &&str| {
                // What has no default stands in an example.
                let line = line.strip_prefix("# ").unwrap_or(line);
                line.split(' ').next() == Some(key)
                    || line.ends_with(&format!(".{key}]]"))
                    || line.ends_with(&format!(".{key}]"))
            };
            assert!(all.lines().any(|line| stands(&line)), "{key} is not in config.toml");
        }
    }
}
