//! What a process has used, as the kernel counts it.

use std::fs;

use crate::exit::{Code, Failure};

/// The counters of one process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Time on a processor, in user and kernel mode, in microseconds.
    pub(crate) cpu_us: u64,
    /// The most memory that was resident at once.
    pub(crate) rss_peak_bytes: u64,
    /// Bytes that it caused to be written to disks.
    pub(crate) disk_bytes: u64,
}

impl Usage {
    /// What two processes have used together, but for memory: of that the more of the two.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            cpu_us: self.cpu_us + other.cpu_us,
            rss_peak_bytes: self.rss_peak_bytes.max(other.rss_peak_bytes),
            disk_bytes: self.disk_bytes + other.disk_bytes,
        }
    }

    /// Reads `/proc` for the process.
    pub(crate) fn of(process: u32) -> Result<Self, Failure> {
        let read = |file: &str| {
            let path = format!("/proc/{process}/{file}");
            fs::read_to_string(&path).map_err(Failure::of(Code::Io, &path))
        };
        let (stat, status, io) = (read("stat")?, read("status")?, read("io")?);
        // Fields 14 and 15 of proc(5); the name in field 2 may hold spaces, so count after it.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: Vec<u64> =
            after_name.split_whitespace().skip(11).take(2).map_while(|n| n.parse().ok()).collect();
        let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Self {
            cpu_us: ticks.iter().sum::<u64>() * 1_000_000 / ticks_per_second,
            rss_peak_bytes: field(&status, "VmHWM:") * 1024,
            disk_bytes: field(&io, "write_bytes:"),
        })
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}
