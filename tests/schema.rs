//! The JSON Schemas are true: of the config, that every key that `check` knows is in it, that valid
//! files pass and wrong ones do not; of the admin side, that real answers are as it says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{ALL_TO_FILE, Broker, http, paquebot};
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

fn printed<const N: usize>(arguments: [&str; N]) -> Value {
    let output = paquebot(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A TOML file as JSON.
fn json_of(text: &str) -> Value {
    fn value(of: &DeValue<'_>) -> Value {
        match of {
            DeValue::String(text) => json!(text),
            DeValue::Integer(integer) => {
                json!(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap())
            }
            DeValue::Boolean(truth) => json!(truth),
            DeValue::Array(items) => items.iter().map(|item| value(item.get_ref())).collect(),
            DeValue::Table(inner) => table(inner),
            other => panic!("{other:?}"),
        }
    }
    fn table(of: &DeTable<'_>) -> Value {
        let pairs = of.iter().map(|(key, of)| (key.get_ref().to_string(), value(of.get_ref())));
        Value::Object(pairs.collect())
    }
    table(DeTable::parse(text).unwrap().get_ref())
}

fn faults(schema: &Value, instance: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(schema).unwrap();
    validator.iter_errors(instance).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn the_configs_that_we_ship_pass_also_with_every_optional_key() {
    let schema = printed(["schema"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["config.toml", "deploy/edge.toml", "deploy/server.toml"] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert_eq!(faults(&schema, &json_of(&text)), [""; 0], "{file}");
    }
    // As an owner would: "#key" loses its '#', "# prose" keeps it.
    let text = fs::read_to_string(root.join("config.toml")).unwrap();
    let bare = |line: &str| {
        line.strip_prefix('#')
            .filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
            .map(str::to_owned)
    };
    let full: String =
        text.lines().map(|l| bare(l).unwrap_or_else(|| l.to_owned()) + "\n").collect();
    assert_ne!(full, text);
    assert_eq!(faults(&schema, &json_of(&full)), [""; 0], "{full}");
}

#[test]
fn what_check_refuses_by_key_type_unit_or_word_the_schema_refuses_too() {
    let schema = printed(["schema"]);
    let client = "[client]\ndata_dir = 'c'\nservers = ['s:1']\n";
    let source = format!("{client}[[client.source]]\nname = 'in'\n");
    let handler = "[server]\nlisten = 'l:1'\ndata_dir = 's'\n[[server.handler]]\nname = 'h'\n\
                   targets = ['>']\n";
    for good in [
        client.to_owned(),
        format!("{source}kind = 'stdin'\ntarget = 'a'\nheaders = {{ shop = 'eu' }}\n"),
        format!(
            "{source}kind = 'directory'\npath = 'p'\nthen = 'move'\ndone = 'd'\ntarget = 'a'\n"
        ),
        format!("{source}kind = 'timer'\ncron = '* * * * *'\ntarget = 'a'\n"),
        format!("{client}ping = '${{PING:-10 s}}'\n"),
        format!("{handler}kind = 'exec'\ncommand = ['x']\nmode = 'lines'\n"),
        format!("{handler}kind = 'file'\npath = 'p'\nrotate = {{ size = '1 MiB', keep = 3 }}\n"),
    ] {
        assert_eq!(faults(&schema, &json_of(&good)), [""; 0], "{good}");
    }
    for wrong in [
        String::new(),
        "[client]\ndata_dir = 'c'\n".to_owned(),
        format!("{client}retries = 3\n"),
        format!("{client}ping = 10\n"),
        format!("{client}ping = '10 seconds'\n"),
        format!("{client}separate_ledgers = 'yes'\n"),
        format!("{client}spool = {{ max_bytes = '1 gb' }}\n"),
        format!("{client}spool = {{ max_lanes = 0 }}\n"),
        format!("{client}spool = {{ when_full = 'explode' }}\n"),
        format!("{source}kind = 'pigeon'\ntarget = 'a'\n"),
        format!("{source}kind = 'stdin'\n"),
        format!("{source}kind = 'stdin'\ntarget = 'a'\nlisten = 'h:1'\n"),
        format!("{handler}kind = 'discard'\npath = 'p'\n"),
        format!("{handler}kind = 'log'\nlevel = 'loud'\n"),
        handler.replace("['>']", "[]") + "kind = 'discard'\n",
    ] {
        assert_ne!(faults(&schema, &json_of(&wrong)), [""; 0], "{wrong}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, &wrong).unwrap();
        let checked = paquebot(["check", "-c", path.to_str().unwrap()]);
        assert_eq!(checked.status.code(), Some(78), "check takes it: {wrong}");
    }
}

#[test]
fn every_key_and_every_kind_that_the_reading_code_knows_is_in_it() {
    let schema = printed(["schema"]);
    let mut keys = BTreeSet::new();
    properties(&schema, &mut keys);
    let mut asked = 0;
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config")) {
        let text = fs::read_to_string(&file).unwrap();
        for verb in
            ["optional", "maybe", "required", "list", "full_list", "pairs", "table", "tables"]
        {
            for (at, call) in text.match_indices(&format!(".{verb}(")) {
                let rest = text[at + call.len()..].trim_start();
                let Some(key) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next())
                else {
                    continue;
                };
                // The root's own description asks for no key.
                if key.is_empty() {
                    continue;
                }
                asked += 1;
                assert!(keys.contains(key), "{}: `{key}` is not in the schema", file.display());
            }
        }
    }
    assert!(asked > 60, "only {asked} calls were found");
    for table in ["client/properties/source", "server/properties/handler"] {
        let items = &schema.pointer(&format!("/properties/{table}/items/oneOf")).unwrap();
        let kinds = items.as_array().unwrap().iter();
        let kinds: BTreeSet<_> =
            kinds.map(|item| item["properties"]["kind"]["const"].as_str().unwrap()).collect();
        let known = known_kinds(table.split('/').next().unwrap());
        assert_eq!(kinds, known.iter().map(String::as_str).collect(), "specimens in describe.rs");
    }
}

/// The kinds that `check` names when it finds one that it does not know.
fn known_kinds(side: &str) -> Vec<String> {
    let part = if side == "client" { "source" } else { "handler" };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let text = format!("[{side}]\n[[{side}.{part}]]\nname = 'x'\nkind = 'pigeon'\n");
    fs::write(&path, text).unwrap();
    let checked = paquebot(["check", "-c", path.to_str().unwrap()]);
    let said = String::from_utf8(checked.stderr).unwrap();
    let line = said.lines().find(|line| line.contains("found \"pigeon\"")).expect(&said);
    let expected = line.split("expected").nth(1).unwrap().split("found").next().unwrap();
    expected.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn properties(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(found)) = map.get("properties") {
                keys.extend(found.keys().cloned());
            }
            map.values().for_each(|value| properties(value, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| properties(value, keys)),
        _ => {}
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_answers_of_the_admin_side_are_as_their_schemas_say() {
    let schemas = printed(["schema", "--api"]);
    let mut broker = Broker::new(&ALL_TO_FILE.replace("\">\"", "\"a\""));
    broker.start_server();
    broker.start_client();
    let reply = broker.connect().post("a?wait=handled", b"x", &[]);
    assert_eq!(reply.status, 200);
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(broker.post("nobody", "x").status, 202);
    broker.drain();
    for port in [broker.client_admin_port, broker.server_admin_port] {
        for (name, schema) in schemas.as_object().unwrap() {
            let path = name.strip_prefix("GET ").unwrap().replace("{id}", &id);
            let reply = http::get(port, &path);
            if reply.status == 404 {
                assert_eq!(port, broker.client_admin_port, "{name} is the server's");
                continue;
            }
            let answer = reply.json();
            let strict = strict(schema);
            assert_eq!(faults(&strict, &answer), [""; 0], "{name}: {answer}");
            let mut more = answer.clone();
            more["surprise"] = json!(1);
            assert_ne!(faults(&strict, &more), [""; 0], "it tells what is there, and nothing more");
        }
    }
    let status = http::get(broker.server_admin_port, "/v1/status").json();
    assert_eq!(status["server"]["clients"][0]["client"], "till-1", "the lists are not empty");
    let letters = http::get(broker.server_admin_port, "/v1/dead-letters").json();
    assert_eq!(letters["dead_letters"][0]["target"], "nobody");
}

/// The same schema, in which no table may hold more than it names.
fn strict(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut map: serde_json::Map<_, _> =
                map.iter().map(|(key, value)| (key.clone(), strict(value))).collect();
            if map.contains_key("properties") && !map.contains_key("additionalProperties") {
                map.insert("unevaluatedProperties".into(), json!(false));
            }
            Value::Object(map)
        }
        Value::Array(values) => values.iter().map(strict).collect(),
        other => other.clone(),
    }
}
