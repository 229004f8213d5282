//! Drives the config with any bytes: as a file, and as the value of an override. Shared by the fuzz
//! target `config` and by `hostile.rs`.

#![allow(clippy::expect_used, reason = "a rig that panics fails its test")]

use std::path::Path;

use paquebot::config::{Colour, Environment, check, load, parse_duration, parse_size};

/// Whatever the bytes are, there is a config or there are problems that can be shown.
pub(crate) fn drive(bytes: &[u8]) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(folder).expect("a folder");
    let path = folder.path().join("config.toml");
    std::fs::write(&path, bytes).expect("a file");
    read(&path, &Environment::default());
    let text = String::from_utf8_lossy(bytes);
    let (variable, value) = text.split_once('\n').unwrap_or(("", &text));
    let _ = (parse_size(value), parse_duration(value));
    let overrides = [
        (format!("PAQUEBOT_{variable}"), value.to_owned()),
        ("PAQUEBOT_CLIENT__SPOOL__MAX_BYTES".to_owned(), value.to_owned()),
        ("PAQUEBOT_SERVER__LISTEN".to_owned(), value.to_owned()),
    ];
    std::fs::write(&path, "[client]\ndata_dir = 'c'\nservers = ['s:1']\n").expect("a file");
    read(&path, &Environment::of(overrides).with_host_name(variable));
}

fn read(path: &Path, environment: &Environment) {
    match load(path, environment) {
        Ok(loaded) => {
            assert!(loaded.config.client.is_some() || loaded.config.server.is_some());
            assert!(!check::report(&loaded.config, &loaded.warnings).is_empty());
            let _ = loaded.warnings.render(Colour::Ansi);
        }
        Err(problems) => {
            assert!(problems.has_errors(), "refused without a reason");
            assert!(!problems.to_string().is_empty());
            for problem in problems.iter() {
                let _ = problems.position(problem);
            }
            let _ = (problems.render(Colour::None), problems.render(Colour::Ansi));
        }
    }
}
