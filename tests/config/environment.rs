//! What comes from outside the file: its place, references in strings, overrides, the host's name.

use std::path::Path;

use paquebot::config::{Candidate, Colour, Environment, load, locate};

use super::{CLIENT, Rig, SERVER};

#[test]
fn the_argument_comes_before_the_variable_before_the_default_places() {
    let rig = Rig::new().set("PAQUEBOT_CONFIG", "");
    let (first, second) = (rig.path("1.toml"), rig.path("2.toml"));
    let places: [&Path; 2] = [&first, &second];
    let environment = rig.environment();
    let none = locate(None, &environment, &places).unwrap_err();
    assert_eq!(none.tried, [Candidate::Default(first.clone()), Candidate::Default(second.clone())]);
    rig.write("2.toml", "");
    assert_eq!(locate(None, &environment, &places), Ok(second.clone()));
    rig.write("1.toml", "");
    assert_eq!(locate(None, &environment, &places), Ok(first.clone()));
    let set = Environment::of([("PAQUEBOT_CONFIG".to_owned(), second.display().to_string())]);
    assert_eq!(locate(None, &set, &places), Ok(second.clone()));
    assert_eq!(locate(Some(&first), &set, &places), Ok(first.clone()));
}

#[test]
fn a_file_that_was_named_is_never_replaced_by_another() {
    let rig = Rig::new();
    let there = rig.write("there.toml", "");
    let absent = rig.path("absent.toml");
    let set = Environment::of([("PAQUEBOT_CONFIG".to_owned(), absent.display().to_string())]);
    let error = locate(None, &set, &[&there]).unwrap_err();
    assert_eq!(error.tried, [Candidate::Variable(absent.clone())]);
    let set = Environment::of([("PAQUEBOT_CONFIG".to_owned(), there.display().to_string())]);
    let error = locate(Some(&absent), &set, &[&there]).unwrap_err();
    assert_eq!(error.tried, [Candidate::Argument(absent)]);
}

#[test]
fn no_file_at_all_is_an_error_that_names_every_place() {
    let places = [Path::new("/nowhere/a.toml"), Path::new("/nowhere/b.toml")];
    let error = locate(None, &Environment::default(), &places).unwrap_err().to_string();
    for place in ["-c FILE", "PAQUEBOT_CONFIG", "/nowhere/a.toml", "/nowhere/b.toml"] {
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn references_expand_in_every_string() {
    let rig = Rig::new().set("HOST", "box-7").set("EMPTY", "").set("SIZE", "32 MiB");
    rig.write("port", "7035\n");
    let config = rig.config(
        "[client]\nid = '${HOST}'\ndata_dir = 'c${EMPTY}/${NONE:-x}/$$${HOST}/$${HOST}/$5'\n\
         servers = ['${EMPTY:-s}:${file:port}']\nspool.max_bytes = '${SIZE}'\n",
    );
    let client = config.client.unwrap();
    assert_eq!(client.id.as_str(), "box-7");
    assert_eq!(client.data_dir, rig.path("c/x/$${HOST}/${HOST}/$5"));
    assert_eq!(client.servers[0].to_string(), "s:7035");
    assert_eq!(client.spool.max_bytes, 32 * 1024 * 1024);
}

#[test]
fn a_files_last_line_break_does_not_belong_to_its_text() {
    for (text, name) in
        [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), (" a \n", " a "), ("a\n\n", "a\n")]
    {
        let rig = Rig::new();
        rig.write("name", text);
        let client = rig.config(&CLIENT.replace("'c'", "'${file:name}'")).client.unwrap();
        assert_eq!(client.data_dir, rig.path(name), "{text:?}");
    }
}

#[test]
fn what_a_reference_stands_for_is_not_expanded_again() {
    let rig = Rig::new().set("A", "${B}").set("B", "b");
    let client = rig.config(&CLIENT.replace("'c'", "'${A}'")).client.unwrap();
    assert_eq!(client.data_dir, rig.path("${B}"));
}

#[test]
fn a_reference_that_stands_for_nothing_is_an_error() {
    for (raw, said) in [
        ("${NONE}", "expected the environment variable NONE to be set"),
        ("${NONE", "expected a `}` after `${`, found none"),
        ("${}", "expected a variable's name or `file:`"),
        ("${A B}", "found \"A B\""),
        ("${1A}", "found \"1A\""),
        ("${A:-${B}}", "expected a plain text as the default"),
        ("${file:/nowhere/x}", "expected a readable text file /nowhere/x"),
        ("${file:/dev/zero}", "more than 65536 bytes"),
    ] {
        let found = Rig::new().problems(CLIENT.replace("'c'", &format!("'{raw}'")));
        assert_eq!(found.len(), 1, "{raw}: {found:?}");
        assert!(found[0].starts_with(":2:12: error: client.data_dir: "), "{found:?}");
        assert!(found[0].contains(said), "{raw}: {found:?}");
    }
    let found = Rig::new().problems(CLIENT.replace("'c'", "'${A}/${B}'"));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn what_came_from_a_file_is_never_shown() {
    let rig = Rig::new();
    rig.write("secret", "sesame open");
    let problems = rig.load(format!("{CLIENT}id = '${{file:secret}}'\n")).unwrap_err();
    let shown = format!("{problems}{}", problems.render(Colour::None));
    assert!(shown.contains("found the contents of a file"), "{shown}");
    assert!(!shown.contains("sesame"), "{shown}");
}

#[test]
fn a_variable_overrides_a_single_value_at_any_depth() {
    let rig = Rig::new()
        .set("PAQUEBOT_CLIENT__ID", "till-17")
        .set("PAQUEBOT_CLIENT__DATA_DIR", "elsewhere")
        .set("PAQUEBOT_CLIENT__PING", "1 s")
        .set("PAQUEBOT_CLIENT__SPOOL__MAX_BYTES", "20 MiB")
        .set("PAQUEBOT_CLIENT__SPOOL__MAX_LANES", "7")
        .set("PAQUEBOT_CLIENT__RECONNECT__MAX", "1 min")
        .set("PAQUEBOT_SERVER__LISTEN", "0.0.0.0:1")
        .set("PAQUEBOT_SERVER__INSECURE", "true")
        .set("PAQUEBOT_METRICS__MAX_TARGETS", "3");
    let config = rig.config(&format!("{CLIENT}ping = 'overridden'\nspool.max_lanes = 3\n{SERVER}"));
    let client = config.client.unwrap();
    assert_eq!(client.id.as_str(), "till-17");
    assert_eq!(client.data_dir, rig.path("elsewhere"));
    assert_eq!(client.ping.as_secs(), 1);
    assert_eq!((client.spool.max_bytes, client.spool.max_lanes), (20 * 1024 * 1024, 7));
    assert_eq!(client.reconnect.max.as_secs(), 60);
    assert_eq!(config.server.unwrap().listen.to_string(), "0.0.0.0:1");
    assert_eq!(config.metrics.max_targets, 3);
}

#[test]
fn a_part_may_come_from_the_environment_alone() {
    let rig = Rig::new().set("PAQUEBOT_ADMIN__LISTEN", "127.0.0.1:9");
    assert_eq!(rig.config(CLIENT).admin.unwrap().listen.to_string(), "127.0.0.1:9");
    let rig = Rig::new()
        .set("PAQUEBOT_SERVER__LISTEN", "127.0.0.1:1")
        .set("PAQUEBOT_SERVER__DATA_DIR", "/s");
    let loaded = rig.load("").unwrap();
    assert_eq!(loaded.config.server.unwrap().handlers, []);
    assert_eq!(loaded.warnings.len(), 1);
    assert!(loaded.warnings.to_string().contains("no packet is ever handled"));
}

#[test]
fn the_programs_own_variables_and_those_of_others_override_nothing() {
    let rig = Rig::new()
        .set("PAQUEBOT_CONFIG", "x")
        .set("PAQUEBOT_LOG", "x")
        .set("PAQUEBOT_CLIENT", "x")
        .set("PAQUEBOT_ADMIN", "x")
        .set("PAQUEBOT_TOKEN_FILE", "x")
        .set("PAQUEBOT_PORT_7035_TCP_ADDR", "x")
        .set("OTHER_CLIENT__PING", "x");
    let config = rig.config(CLIENT);
    assert_eq!((config.server, config.admin), (None, None));
}

#[test]
fn an_override_that_means_no_key_is_an_error() {
    let list = "expected a variable for a key with a single value, found one for a list";
    for (name, key, said) in [
        ("PAQUEBOT_CLIENT__PNIG", "client.pnig", "(did you mean `PAQUEBOT_CLIENT__PING`?)"),
        ("PAQUEBOT_CLIENT__SPOOL__X", "client.spool.x", "unknown key"),
        ("PAQUEBOT_CLEINT__X", "cleint.x", "unknown key"),
        ("PAQUEBOT__X", "_x", "unknown key"),
        ("PAQUEBOT_client__ping", "client.ping", "(did you mean `PAQUEBOT_CLIENT__PING`?)"),
        ("PAQUEBOT_CLIENT__SERVERS", "client.servers", list),
        ("PAQUEBOT_CLIENT__SPOOL", "client.spool", "found one for a table"),
        ("PAQUEBOT_CLIENT__SOURCE", "client.source", "found one for an array of tables"),
        ("PAQUEBOT_CLIENT__SOURCE__NAME", "client.source.name", "a key in an array of tables"),
        ("PAQUEBOT_CLIENT__TOKEN_FILE", "client.token_file", "not available in this version"),
        ("PAQUEBOT_CLIENT__TLS__CA", "client.tls", "not available in this version"),
    ] {
        let found = Rig::new().set(name, "x").problems(CLIENT);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with(&format!(": error: {key}: ")), "{name}: {found:?}");
        assert!(found[0].contains(said), "{name}: {found:?}");
        assert!(found[0].contains(&format!("environment variable {name}")), "{found:?}");
    }
}

#[test]
fn a_bad_override_is_an_error_of_the_variable_not_of_the_file() {
    let rig = Rig::new().set("PAQUEBOT_CLIENT__PING", "10");
    let problems = rig.load(format!("{CLIENT}ping = '1 s'\n")).unwrap_err();
    let line = problems.to_string();
    assert!(line.contains("client.ping: expected a duration"), "{line}");
    assert!(line.contains("(in the environment variable PAQUEBOT_CLIENT__PING)"), "{line}");
    let picture = problems.render(Colour::None);
    assert!(picture.contains("--> the environment variable PAQUEBOT_CLIENT__PING\n"), "{picture}");
    for (name, value) in
        [("PAQUEBOT_CLIENT__SPOOL__MAX_LANES", "many"), ("PAQUEBOT_SERVER__INSECURE", "yes")]
    {
        let found = Rig::new().set(name, value).problems(format!("{CLIENT}{SERVER}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&format!("found {value:?}")), "{found:?}");
    }
}

#[test]
fn the_hosts_name_becomes_the_clients_id_as_far_as_it_can() {
    let rig = Rig::new();
    let path = rig.write("config.toml", CLIENT);
    let id = |host: &str| {
        let environment = Environment::default().with_host_name(host);
        load(&path, &environment).map(|loaded| loaded.config.client.unwrap().id.to_string())
    };
    assert_eq!(id("till-17.shop.example").unwrap(), "till-17.shop.example");
    assert_eq!(id("Käse (3)").unwrap(), "K-se--3-");
    assert_eq!(id(&"x".repeat(70)).unwrap(), "x".repeat(64));
    for nothing in ["", "  ", "???"] {
        let problems = id(nothing).unwrap_err().to_string();
        assert!(problems.contains("client.id: expected a client's id"), "{problems}");
    }
    assert!(load(&path, &Environment::of_this_process()).is_ok());
}
