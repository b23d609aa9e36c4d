//! What a job takes: processor seconds, wall seconds, peak memory.

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};

/// Time and memory of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    /// The stage's name.
    pub stage: String,
    /// Processor seconds of all threads.
    pub cpu_seconds: f64,
    /// Seconds on the wall.
    pub wall_seconds: f64,
    /// Largest resident set of the process between the stage's start and its end, in bytes; `None` where the system cannot
    /// tell stages apart.
    pub peak_rss_bytes: Option<u64>,
}

/// Measures a stage. Stages follow one another: starting one forgets the peak memory of what came before.
#[derive(Debug)]
pub struct Stopwatch {
    cpu: ProcessTime,
    wall: Instant,
    /// Whether the peak memory is that since the start.
    own_peak: bool,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { own_peak: reset_peak_rss(), cpu: ProcessTime::now(), wall: Instant::now() }
    }

    /// Time and memory since the start, called `stage`.
    #[must_use]
    pub fn stop(&self, stage: &str) -> StageTime {
        let seconds = |d: Duration| (d.as_secs_f64() * 1000.0).round() / 1000.0;
        StageTime {
            stage: stage.to_owned(),
            cpu_seconds: seconds(self.cpu.elapsed()),
            wall_seconds: seconds(self.wall.elapsed()),
            peak_rss_bytes: if self.own_peak { peak_rss_bytes() } else { None },
        }
    }
}

/// Bytes that programs may still take without swapping, by the system or by the limits of the group this process is in; `None` where
/// neither is known.
pub(crate) fn available_memory_bytes() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let limit = system.cgroup_limits().map(|limits| limits.free_memory);
    let free = Some(system.available_memory()).filter(|&free| free > 0);
    free.into_iter().chain(limit).min()
}

/// Forgets the largest resident set so far, so that stages can be told apart; says whether the system can do so (Linux).
fn reset_peak_rss() -> bool {
    const PEAK: &str = "5"; // proc(5), clear_refs: reset the peak resident set
    std::fs::write("/proc/self/clear_refs", PEAK).is_ok()
}

/// The largest resident set of this process since its start or that of the last [`Stopwatch`], in bytes; `None` where the system does not say.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
