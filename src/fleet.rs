//! The command `status --fleet`: the clients of a running server, those that are away, too.

use std::time::Duration;

use hyper::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::cli::ConfigArgs;
use crate::exit::Failure;
use crate::question;

/// A server that lives answers at once, also for thousands.
const ANSWER: Duration = Duration::from_secs(30);

/// Asks the server and prints its answer, all pages of it.
///
/// # Errors
/// When no server runs.
pub fn fleet(args: &ConfigArgs, in_json: bool) -> Result<(), Failure> {
    let door = question::door(args)?;
    let (mut clients, mut path) = (Vec::new(), "/v1/clients".to_owned());
    loop {
        let page = question::ask(&door, Method::GET, &path, None, ANSWER)?;
        clients.extend(page.get("clients").and_then(Value::as_array).cloned().unwrap_or_default());
        let Some(next) = page.get("next").and_then(Value::as_str) else { break };
        path = format!("/v1/clients?after={}", utf8_percent_encode(next, NON_ALPHANUMERIC));
    }
    if in_json {
        println!("{:#}", json!({ "clients": clients }));
    } else {
        clients.iter().for_each(|client| println!("{}", in_words(client)));
    }
    Ok(())
}

fn in_words(client: &Value) -> String {
    let text = |key: &str| client.get(key).and_then(Value::as_str);
    let here = client.get("connected").and_then(Value::as_bool).unwrap_or_default();
    let (word, key) = if here { ("connected since", "since") } else { ("away since", "last_seen") };
    let id = text("id").unwrap_or("-");
    let mut words = format!("{id}  {word} {}", text(key).unwrap_or("-"));
    if let Some(backlog) = client.get("backlog").filter(|backlog| backlog.is_object()) {
        let packets = backlog.get("packets").and_then(Value::as_u64).unwrap_or_default();
        words.push_str(&format!("  waiting: {packets}"));
        let age = backlog.get("oldest_packet_age_seconds").and_then(Value::as_f64);
        if let Some(age) = age.filter(|_| packets > 0) {
            words.push_str(&format!(" for up to {age:.0} s"));
        }
    }
    if let Some(full) = text("full") {
        words.push_str(&format!("  {full}"));
    } else if let Some(seconds) = client.get("seconds_left").and_then(Value::as_u64) {
        words.push_str(&format!("  full in {seconds} s"));
    }
    let skew = client.get("clock_skew_seconds").and_then(Value::as_f64);
    if let Some(skew) = skew.filter(|skew| skew.abs() >= 5.0) {
        words.push_str(&format!("  clock off by {skew:.0} s"));
    }
    if let Some(error) = text("last_error") {
        words.push_str(&format!("  last error: {error}"));
    }
    words
}
