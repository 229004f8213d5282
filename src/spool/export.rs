//! `spool export`: every pending packet, a line of JSON each, spelled as the handler `file` does.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};

use base64::prelude::{BASE64_STANDARD, Engine};
use paquebot_actors::clock;
use paquebot_protocol::{Packet, TargetPattern};
use paquebot_store::Stretch;
use serde::Serialize;

use super::args::PlaceArgs;
use super::offline::{Place, Touch};
use crate::exit::{Code, Failure};

/// A packet; what is empty is absent, and so is the client when only a directory was named.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    target: &'a str,
    lane: u64,
    number: u64,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: &'a BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

pub(super) fn export(args: &PlaceArgs, pattern: Option<&TargetPattern>) -> Result<(), Failure> {
    let place = Place::of(args)?;
    let spool = place.open(Touch::Nothing)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let failed = |error: io::Error| Failure::new(Code::Io, format!("printing failed: {error}"));
    let (mut declared, mut unreadable) = (0, 0);
    let lanes = spool.opened.lanes.clone();
    for state in lanes.iter().filter(|one| pattern.is_none_or(|p| p.matches(&one.target))) {
        let from = state.acked_through.next();
        spool.walk(state, |stretch| {
            let Stretch::Run { run, .. } = &stretch else {
                declared += 1;
                return Ok(());
            };
            for (number, record) in run.records().filter(|(number, _)| *number >= from) {
                let Ok(packet) = Packet::decode(record) else {
                    unreadable += 1;
                    continue;
                };
                let text = str::from_utf8(packet.data).ok();
                let line = Line {
                    id: run.packet_id(state.lane, number).to_string(),
                    client: place.client.as_ref().map(paquebot_protocol::ClientId::as_str),
                    target: state.target.as_str(),
                    lane: state.lane.0,
                    number: number.0,
                    created: clock::rfc3339(packet.created_ms),
                    content_type: packet.meta.content_type,
                    headers: &packet.meta.headers,
                    data: text,
                    data_base64: text.is_none().then(|| BASE64_STANDARD.encode(packet.data)),
                };
                serde_json::to_writer(&mut out, &line).map_err(|error| failed(error.into()))?;
                out.write_all(b"\n").map_err(failed)?;
            }
            Ok(())
        })?;
    }
    out.flush().map_err(failed)?;
    drop(out);
    let damage = spool.close()?;
    for one in &damage {
        eprintln!("DAMAGED: {one}");
    }
    if damage.is_empty() && unreadable == 0 {
        return Ok(());
    }
    let message = format!(
        "not every packet could be exported: {unreadable} have no record that can be read, and \
         {declared} stretches are declared gone"
    );
    Err(Failure::new(Code::Data, message))
}
