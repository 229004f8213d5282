//! Keys that would do nothing: each is an error that says why.

use super::problems::{FILE, assert_one};
use super::{CLIENT, Rig, SERVER};

/// A source to put lines under.
const TAIL: &str = "[[client.source]]\nname = 'a'\nkind = 'tail'\npaths = ['x']\n";

fn tail(keys: &str) -> String {
    format!("{CLIENT}{TAIL}{keys}\n")
}

#[test]
fn what_is_said_of_a_failing_needs_something_that_can_fail() {
    let text = tail("target = 't'\non_error = 'drop'");
    assert_one(&text, "client.source[0].on_error", "there is no `when` that could fail");
    let text = tail("target = 't'\nheaders = { a = 'b' }\ntarget_on_error = 'x'");
    assert_one(&text, "client.source[0].target_on_error", "there is no template that could fail");
    let text = format!(
        "{CLIENT}[[client.source]]\nname = 'a'\nkind = 'http'\nlisten = '127.0.0.1:2'\n\
         target_on_error = 'x'"
    );
    assert_one(&text, "client.source[0].target_on_error", "there is no template that could fail");
    for keys in [
        "target = 't'\nwhen = 'size > 1'\non_error = 'drop'",
        "target = 't.{{ json.a }}'\ntarget_on_error = 'x'",
        "target = 't'\nheaders = { a = '{{ json.a }}' }\ntarget_on_error = 'x'",
        "target = 't'\ncontent_type = '{{ json.a }}'\ntarget_on_error = 'x'",
    ] {
        Rig::new().config(&tail(keys));
    }
}

#[test]
fn a_policy_that_is_never_reached_is_an_error_that_shows_the_earlier_one() {
    let policies = |first: &str, second: &str| {
        format!(
            "{CLIENT}[[client.policy]]\ntargets = [{first}]\nttl = '1 h'\n\
             [[client.policy]]\ntargets = [{second}]\nttl = '2 h'\n"
        )
    };
    for (first, second, at, by) in [
        ("'a'", "'a'", 0, 0),
        ("'b', 'a.>'", "'a.b.c'", 0, 1),
        ("'a.*'", "'x', 'a.b'", 1, 0),
        ("'>'", "'*.b'", 0, 0),
        ("'*.>'", "'a.>'", 0, 0),
    ] {
        let text = policies(first, second);
        let said = format!("`client.policy[0].targets[{by}]` has already");
        assert_one(&text, &format!("client.policy[1].targets[{at}]"), &said);
    }
    for (first, second) in
        [("'a.*'", "'a.>'"), ("'a.b'", "'a.*'"), ("'a.>'", "'a'"), ("'a.*'", "'*.a'")]
    {
        Rig::new().config(&policies(first, second));
    }
}

#[test]
fn a_policy_says_something_that_can_come_true() {
    let policy = |keys: &str| format!("{CLIENT}[[client.policy]]\ntargets = ['a']\n{keys}\n");
    let found = "expected no more than `client.spool.max_bytes`, which is 1 GiB, found 2 GiB";
    assert_one(&policy("max_bytes = '2 GiB'"), "client.policy[0].max_bytes", found);
    assert_one(&policy(""), "client.policy[0].targets", "says nothing about these targets");
    // It exempts its targets from what a later one says.
    Rig::new().config(&policy("[[client.policy]]\ntargets = ['>']\nttl = '1 h'"));
}

#[test]
fn a_threshold_that_no_figure_passes_is_an_error() {
    let host = |metric: &str, side: &str| {
        format!(
            "{CLIENT}[[client.source]]\nname = 'a'\nkind = 'host'\nmetric = '{metric}'\n\
             target = 't'\n{side}\n"
        )
    };
    for (metric, side, key, said) in [
        ("disk_percent", "above = 100", "above", "less than 100: a disk_percent"),
        ("cpu_percent", "above = 101", "above", "found 101"),
        ("memory_percent", "below = 0", "below", "more than 0: a memory_percent"),
        ("load1", "below = 0", "below", "more than 0: a load1"),
    ] {
        assert_one(&host(metric, side), &format!("client.source[0].{key}"), said);
    }
    for (metric, side) in [
        ("disk_percent", "above = 99.9"),
        ("cpu_percent", "below = 100"),
        ("load1", "above = 400"),
        ("temperature_celsius", "below = -20"),
    ] {
        Rig::new().config(&host(metric, side));
    }
}

#[test]
fn a_server_s_keys_for_what_cannot_happen_are_errors() {
    let with = |line: &str| SERVER.replacen("[server]\n", &format!("[server]\n{line}\n"), 1);
    let text = with("unknown_target = 'hold'");
    assert_one(&text, "server.unknown_target", "a handler takes every target");
    Rig::new().config(&text.replace("'>'", "'a.>'"));
    assert_one(&with("insecure = true"), "server.insecure", "only this machine can reach `listen`");
    Rig::new().config(&with("insecure = false"));
    let text = format!("{SERVER}{FILE}retry = {{ initial = '2 min', max = '1 min' }}");
    assert_one(&text, "server.handler[1].retry.max", "`initial`: 2 min, found 1 min");
}
