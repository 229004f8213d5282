//! What can never work in an expression or a template is found before there is an event, and nothing
//! else is.

use super::problems::assert_one;
use super::{CLIENT, Rig};

/// A source of a kind with the keys that it needs, and `key`.
fn source(kind: &str, key: &str, text: &str) -> String {
    let keys = match kind {
        "tail" => "paths = ['x']",
        "http" => "listen = '127.0.0.1:2'",
        "directory" => "path = 'x'",
        "exec" => "command = ['x']\nevery = '1 min'\npacket = 'output'",
        "timer" => "every = '1 min'",
        "host" => "metric = 'load1'\nabove = 1",
        _ => "",
    };
    let target = if kind == "http" || key == "target" { "" } else { "target = 't'\n" };
    format!(
        "{CLIENT}[[client.source]]\nname = 'a'\nkind = '{kind}'\n{keys}\n{target}\
         {key} = '''{text}'''\n"
    )
}

/// Loads a config in which nothing is wrong, and nothing doubtful.
fn assert_taken(text: &str) {
    match Rig::new().load(text) {
        Ok(loaded) => assert!(loaded.warnings.is_empty(), "{text}\n{}", loaded.warnings),
        Err(problems) => panic!("{text}\n{problems}"),
    }
}

#[test]
fn an_expression_that_can_never_work_is_an_error_that_says_why() {
    for (kind, when, said) in [
        (
            "tail",
            "lin.contains('x')",
            "expected one of line, json, path, offset, size; found `lin`",
        ),
        ("tail", "line.upper() == 'X'", "there is no function `upper`"),
        ("tail", "contains(line, 'x')", "`contains`"),
        ("tail", "line > 5", "`line > 5`: `>` does not take a text and a whole number"),
        ("tail", "line.level == 'error'", "`line` is a text, which has no `.level`"),
        ("tail", "size.contains('x')", "`contains` does not take a whole number and a text"),
        ("tail", "line.contains(5)", "`contains` does not take a text and a whole number"),
        ("tail", "line.contains()", "`contains` does not take a text"),
        ("tail", "line", "it has to be true or false, and is a text"),
        ("tail", "size + 1", "it has to be true or false, and is a whole number"),
        ("tail", "size > 1 && line", "`&&` takes what is true or false, and `line` is a text"),
        ("tail", "json.a == 1 || size", "`||` takes what is true or false, and `size` is"),
        ("tail", "!path", "`!` takes what is true or false, and `path` is a text"),
        ("tail", "line.matches('[')", "`line.matches(\"[\")`: "),
        ("tail", "size + 1.5 > 2.0", "`+` does not take a whole number and a number with a point"),
        ("tail", "line.exists(x, x == 'a')", "`line` is a text, and neither a list nor a map"),
        ("tail", "json.items.exists(x, y > 1)", "found `y`"),
        ("tail", "json.a == 'x' ? line : path", "and is a text"),
        ("tail", "line[0] == 'a'", "`[]` does not take a text and a whole number"),
        ("tail", "'x' in line", "`in` does not take a text and a text"),
        ("tail", "int('x') > 1", "`int(\"x\")`: "),
        ("host", "value > '90'", "does not take a number with a point or null and a text"),
        ("exec", "exit_code.contains('x')", "`contains` does not take a whole number or null"),
        ("directory", "name.size > 3", "`name` is a text, which has no `.size`"),
        ("timer", "now > 5", "`>` does not take a text and a whole number"),
        ("http", "size.x == 1", "`size` is a whole number, which has no `.x`"),
    ] {
        assert_one(&source(kind, "when", when), "client.source[0].when", said);
    }
}

#[test]
fn an_expression_that_may_work_is_taken_without_a_word() {
    for (kind, when) in [
        ("tail", "json.level == 'error'"),
        ("tail", "json.a.b.c[3].d > 10"),
        ("tail", "json.a > 10.5 || json.b"),
        ("tail", "json"),
        ("tail", "json != null && has(json.level) && json.level in ['warn', 'error']"),
        ("tail", "line.contains(' 500 ')"),
        ("tail", "line.matches('^[A-Z]+ [0-9]{3}')"),
        ("tail", "line.matches(json.pattern)"),
        ("tail", "int(line) > 3"),
        ("tail", "double(json.amount) > 10.0"),
        ("tail", "string(json.amount).startsWith('1')"),
        ("tail", "size(line) > 3 && size(json) > 1 && size > 3"),
        ("tail", "json.items.exists(item, item.price > 100)"),
        ("tail", "json.items.all(i, i > 1) && json.items.exists_one(i, i == 2)"),
        ("tail", "json.items.filter(i, i > 1).size() > 2"),
        ("tail", "json.items.map(i, i * 2)[0] == 4"),
        ("tail", "[1, 2, 3].exists(line, line == 2)"),
        ("tail", "type(json.a) == int"),
        ("tail", "json.a == 'x' ? size > 1 : json.b"),
        ("tail", "json['a-b'] == 1 && 'c' in json"),
        ("tail", "size / json.n > 2 && offset % 2 == 0"),
        ("tail", "path.endsWith('.log') && !line.startsWith('#')"),
        ("tail", "-size < 0 && line + path != 'x'"),
        ("http", "content_type == null || content_type.startsWith('text/')"),
        ("http", "headers.shop == '7' && 'shop' in headers && has(headers.x)"),
        ("http", "target.startsWith('sales') && text != ''"),
        ("exec", "exit_code != 0 && exit_code > 1"),
        ("host", "value > 90.0 && state == 'raised' && json.value > 1.0"),
        ("host", "value == null || value > 90"),
        ("timer", "count % 10 == 0 && now.startsWith('2026')"),
        ("directory", "name.endsWith('.json') && json.desk == 'a' && text.size() > 2"),
        ("stdin", "line.size() > 3"),
    ] {
        assert_taken(&source(kind, "when", when));
    }
}

#[test]
fn two_values_that_are_never_equal_are_a_warning() {
    for (kind, when, said) in [
        ("tail", "line == 5", "`line == 5` compares a text with a whole number"),
        ("tail", "size != '5'", "`size != \"5\"` compares a whole number with a text"),
        ("tail", "line == null", "`line == null` compares a text with null"),
        ("exec", "exit_code == '0'", "compares a whole number or null with a text"),
    ] {
        let loaded = Rig::new().load(source(kind, "when", when)).unwrap();
        let warnings = loaded.warnings.to_string();
        assert_eq!(loaded.warnings.len(), 1, "{when}: {warnings}");
        assert!(warnings.contains("warning: client.source[0].when: "), "{warnings}");
        assert!(warnings.contains(said), "{warnings}");
    }
    // Numbers are equal whatever their kind.
    assert_taken(&source("tail", "when", "size == 5.0"));
}

#[test]
fn a_template_that_can_never_be_filled_in_is_an_error_that_says_why() {
    for (kind, key, text, said) in [
        ("tail", "target", "t.{{ lin }}", "expected one of line, json, path, offset, size; found"),
        ("tail", "target", "t.{{ line | shout }}", "there is no filter `shout`"),
        ("tail", "target", "t.{% if json is loud %}a{% endif %}", "there is no test `loud`"),
        ("tail", "target", "t{% if json %}{% else %}{{ line|shout }}{% endif %}", "`shout`"),
        ("tail", "target", "t.{{ line.upper() }}", "`upper()`: what is in an event has no"),
        ("tail", "target", "t.{{ json.name.lower() }}", "`lower()`"),
        ("tail", "target", "t.{{ line.level }}", "`line` is a text, which has no `.level`"),
        ("tail", "target", "t.{{ size['x'] }}", "`size` is a whole number, which has no `.x`"),
        ("tail", "target", "t.{{ line - 1 }}", "- operator"),
        ("tail", "target", "a b.{{ line }}", "expected no white space"),
        ("tail", "target", "$sys.{{ line }}", "expected no '$' at the start"),
        ("tail", "target", "t..{{ line }}", "an empty token"),
        ("tail", "target", ".{{ line }}", "an empty token"),
        ("tail", "target", "{{ line }}.", "an empty token"),
        ("tail", "target", "{{ line }}.*.{{ path }}", "wildcard"),
        ("tail", "content_type", "{{ line.x }}", "which has no `.x`"),
        ("timer", "data", "{{ now.year }}", "`now` is a text, which has no `.year`"),
        ("timer", "data", "{{ count.x }}", "`count` is a whole number"),
    ] {
        assert_one(&source(kind, key, text), &format!("client.source[0].{key}"), said);
    }
    let text = source("tail", "headers", "").replace("''''''", "{ at = '{{ path.x }}' }");
    assert_one(&text, "client.source[0].headers.at", "`path` is a text, which has no `.x`");
}

#[test]
fn a_template_that_may_be_filled_in_is_taken() {
    for (kind, key, text) in [
        ("tail", "target", "t.{{ json.a.b['c d'][0] }}.x"),
        ("tail", "target", "{{ line }}"),
        ("tail", "target", "t.{% if json.a is defined %}{{ json.a }}{% else %}none{% endif %}"),
        ("tail", "target", "t{% for part in json.parts %}.{{ part.name }}{% endfor %}"),
        ("tail", "target", "t.{% set line = json %}{{ line.a }}"),
        ("tail", "target", "t.{{ size + offset * 2 }}"),
        ("tail", "target", "t.{{ line[2:5] }}.{{ 'a' if size > 3 else 'b' }}"),
        (
            "tail",
            "target",
            "t{% for p in json %}{{ loop.index }}{{ loop.cycle('a','b') }}{% endfor %}",
        ),
        ("tail", "target", "{{ json.a }}.{{ json.b ~ '-' ~ size }}"),
        ("tail", "target", "t{# who #}.{{ json.a | safe }}"),
        ("http", "content_type", "{{ content_type }}; {{ headers.shop }}"),
        ("timer", "data", "{\"n\": {{ count }}, \"at\": \"{{ now }}\"}"),
        ("host", "target", "host.{{ metric }}.{{ state }}"),
    ] {
        assert_taken(&source(kind, key, text));
    }
}
