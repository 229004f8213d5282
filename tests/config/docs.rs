//! The examples in the docs: each is a part of a valid config.

use super::{CLIENT, Rig, SERVER};

#[test]
fn every_source_and_handler_in_the_docs_is_valid() {
    let mut checked = 0;
    for entry in std::fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&entry).unwrap();
        let blocks = text.split("```toml\n").skip(1);
        for block in blocks.map(|block| block.split("```").next().unwrap()) {
            let config = match block.trim_start() {
                client if client.starts_with("[[client.") => format!("{CLIENT}{client}"),
                handler if handler.starts_with("[[server.") => {
                    format!("[server]\nlisten = '127.0.0.1:1'\ndata_dir = 's'\n{handler}")
                }
                server if server.starts_with("[server") => format!("{SERVER}{server}"),
                _ => continue,
            };
            let rig = Rig::new();
            // Secrets that this machine does not have.
            rig.write("alarms", "secret");
            if let Err(problems) = rig.load(config.replace("/run/secrets/", "")) {
                panic!("{}:\n{block}\n{problems}", entry.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} examples were found");
}
