//! Memory by stage. Alone in its program, since the peak is that of the whole process.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use common::{fixture, job};
use rosaq_pipeline::{Progress, Stopwatch, peak_rss_bytes, quantize};

/// Far more than a stage on the bundled model takes, and large enough for the allocator to give it back at once.
const LARGE: usize = 256 << 20;

fn take_much() -> usize {
    let taken = vec![1_u8; LARGE];
    taken.iter().step_by(4096).map(|&b| usize::from(b)).sum()
}

#[test]
fn every_stage_has_the_peak_of_its_own_memory() {
    let can_tell =
        cfg!(target_os = "linux") && std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let watch = Stopwatch::start();
    assert_eq!(take_much(), LARGE / 4096);
    let (large, small) = (watch.stop("large"), Stopwatch::start().stop("small"));
    if can_tell {
        let (large, small) = (large.peak_rss_bytes.unwrap(), small.peak_rss_bytes.unwrap());
        assert!(large > LARGE as u64 && small < large - LARGE as u64 / 2, "{large}, {small}");
    } else {
        assert_eq!((large.peak_rss_bytes, small.peak_rss_bytes), (None, None));
    }

    // What was held before a job is not its own.
    assert_eq!(take_much(), LARGE / 4096);
    let dir = tempfile::tempdir().unwrap();
    let job = job(&fixture("tiny-llama"), "rosaq", 4, &dir.path().join("out"));
    let report = quantize(&job, None, Progress::Quiet).unwrap();
    let stages: Vec<&str> = report.stages.iter().map(|s| s.stage.as_str()).collect();
    assert_eq!(stages, ["calibrate", "rotation", "quantize and write"]);
    let peaks: Vec<_> = report.stages.iter().map(|s| s.peak_rss_bytes).collect();
    if can_tell {
        assert!(peaks.iter().all(|p| (1..LARGE as u64).contains(&p.unwrap())), "{peaks:?}");
        assert!(report.peak_rss_bytes >= peaks.into_iter().max().unwrap());
    } else {
        assert_eq!(peaks, [None; 3]);
        assert_eq!(report.peak_rss_bytes, peak_rss_bytes());
    }
}
