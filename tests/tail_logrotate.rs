//! A log that grows while the real `logrotate` rotates and compresses it, and the client is killed again
//! and again: each line arrives once and in order. Without `logrotate` it fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may panic, and reads the real clock"
)]

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{ALL_TO_FILE, Broker, until};

const LINES: usize = 6_000;
const LINES_AT_ONCE: usize = 20;
const BETWEEN: Duration = Duration::from_millis(20);
/// Longer than the client is ever away, even here: a file that came and was renamed meanwhile was never
/// at a path that is followed.
const ROTATED_EVERY: Duration = Duration::from_millis(1_400);

#[test]
fn a_log_under_logrotate_arrives_complete_and_in_order_through_kills() {
    let source = "[[client.source]]\nname = \"log\"\nkind = \"tail\"\npaths = [\"logs/app.log\"]\n\
                  target = \"log\"\nstart_at = \"beginning\"";
    let mut broker = Broker::with(source, "", ALL_TO_FILE);
    std::fs::create_dir(broker.path("logs")).unwrap();
    // It refuses directories that others may write to.
    for dir in [broker.path("."), broker.path("logs")] {
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let log = broker.path("logs/app.log");
    let rules = format!(
        "{} {{\n  rotate 100\n  create\n  compress\n  delaycompress\n  missingok\n}}\n",
        log.display()
    );
    broker.write("rules", &rules);
    std::fs::set_permissions(broker.path("rules"), PermissionsExt::from_mode(0o644)).unwrap();
    let (state, rules) = (broker.path("state"), broker.path("rules"));
    let rotate = || {
        let mut logrotate = Command::new("logrotate");
        let done = logrotate.arg("--force").arg("--state").arg(&state).arg(&rules).output();
        let done = done.expect("logrotate (Debian: apt-get install logrotate)");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };

    let is_written = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while number < LINES {
                // As a program that opens its log anew for each entry: a line may still go to the
                // file that was just renamed.
                let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
                for _ in 0..LINES_AT_ONCE {
                    writeln!(file, "line {number}").unwrap();
                    number += 1;
                }
                std::thread::sleep(BETWEEN);
            }
            is_written.store(true, Ordering::Relaxed);
        });
        let rotations = scope.spawn(|| {
            let mut rotations = 0;
            while !is_written.load(Ordering::Relaxed) {
                // A compressed file is an archive: whoever reads has until the second rotation.
                std::thread::sleep(ROTATED_EVERY);
                rotate();
                rotations += 1;
            }
            rotations
        });
        let mut kills = 0;
        while !is_written.load(Ordering::Relaxed) {
            broker.start_client();
            std::thread::sleep(Duration::from_millis(250));
            broker.kill_client();
            kills += 1;
        }
        (rotations.join().unwrap(), kills)
    });
    assert!(written.0 >= 4 && written.1 >= 8, "{written:?} rotations and kills prove little");

    broker.start_client();
    broker.start_server();
    until("all lines are handled", || broker.lines("out.ndjson").len() >= LINES);
    broker.drain();
    let expected: Vec<String> = (0..LINES).map(|number| format!("line {number}")).collect();
    let handled = broker.handled("out.ndjson").remove("log").unwrap();
    let wrong = handled.iter().zip(&expected).position(|(found, expected)| found != expected);
    assert_eq!(wrong.map(|at| &handled[at]), None, "at {wrong:?} of {}", handled.len());
    assert_eq!(handled.len(), LINES);
    assert!(broker.path("logs/app.log.2.gz").exists(), "it compressed nothing");
}
