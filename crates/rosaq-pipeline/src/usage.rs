//! What a job takes: processor seconds, wall seconds, peak memory.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};

/// Time spent in one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage's name.
    pub stage: String,
    /// Processor seconds of all threads.
    pub cpu_seconds: f64,
    /// Seconds on the wall.
    pub wall_seconds: f64,
}

/// Measures stages one after another.
#[derive(Debug)]
pub struct Stopwatch {
    cpu: ProcessTime,
    wall: Instant,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { cpu: ProcessTime::now(), wall: Instant::now() }
    }

    /// The time since the start, called `stage`.
    #[must_use]
    pub fn stop(&self, stage: &str) -> StageTime {
        let seconds = |d: Duration| (d.as_secs_f64() * 1000.0).round() / 1000.0;
        StageTime {
            stage: stage.to_owned(),
            cpu_seconds: seconds(self.cpu.elapsed()),
            wall_seconds: seconds(self.wall.elapsed()),
        }
    }
}

/// Forgets the largest resident set so far, where the system can (Linux), so that stages can be told apart.
pub fn reset_peak_rss() {
    const PEAK: &str = "5"; // proc(5), clear_refs: reset the peak resident set
    let _ = std::fs::write("/proc/self/clear_refs", PEAK); // elsewhere the peak stays the process's
}

/// The largest resident set of this process since the start or the last [`reset_peak_rss`], in bytes; `None` where the system does not say.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
