//! Killed and repeated jobs: same bytes, no half-written target, nothing replaced unasked.

use std::fs;
use std::path::{Path, PathBuf};

use rosaq_calib::{Fingerprint, TokenWeighting};
use rosaq_methods::{MethodSettings, find};
use rosaq_model::SourceModel;
use rosaq_rotate::Placement;

use crate::quantize::{Keys, calibration_tokens};
use crate::workdir::WorkDir;
use crate::{Amount, CalibrationSet, PipelineError, Progress, QuantizeJob, TableWidth, quantize};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

fn job(model: &Path, method: &str, bits: u8, out: &Path) -> QuantizeJob {
    let path = fixture("text/calibration.txt");
    QuantizeJob {
        tables: TableWidth::F16,
        model: model.to_owned(),
        method: method.to_owned(),
        settings: MethodSettings::new(bits, 128).unwrap(),
        calibration: CalibrationSet {
            path,
            sequences: Amount::Exactly(8),
            length: 128,
            weighting: TokenWeighting::Equal,
            products: None,
        },
        out: out.to_owned(),
        fresh: false,
    }
}

/// Every file but the report, which holds times, sorted by name.
fn weight_files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut files: Vec<_> = paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect();
    files.retain(|(name, _)| name != "rosaq-report.json");
    files.sort();
    files
}

/// The work directory that a killed run leaves beside `out`.
fn work_dir(out: &Path) -> PathBuf {
    out.with_file_name(format!(".{}.work", out.file_name().unwrap().to_string_lossy()))
}

/// Turns a finished checkpoint back into what a kill after `n_blocks` blocks leaves: a claimed work directory with shards,
/// one file half written.
fn unfinish(job: &QuantizeJob, n_blocks: usize) {
    let source = SourceModel::open(&job.model).unwrap();
    let method = find(&job.method).unwrap();
    let windows = method.requirements().any.then(|| calibration_tokens(job, &source).unwrap());
    let keys = Keys::new(job, &source, windows.as_ref()).unwrap();
    unfinish_as(job, n_blocks, &keys.job);
}

/// The same under any fingerprint.
fn unfinish_as(job: &QuantizeJob, n_blocks: usize, key: &Fingerprint) {
    drop(WorkDir::open(&job.out, key, false).unwrap());
    let staging = work_dir(&job.out).join("checkpoint");
    fs::remove_dir(&staging).unwrap();
    fs::rename(&job.out, &staging).unwrap();
    for (name, _) in weight_files(&staging) {
        // Shard 1 holds the ends, which are written last; shard 2 is the first block.
        let shard = name.strip_prefix("model-").and_then(|n| n[..5].parse::<usize>().ok());
        if shard.is_none_or(|shard| shard < 2 || shard > n_blocks + 1) {
            fs::remove_file(staging.join(name)).unwrap();
        }
    }
    fs::write(staging.join(".tmp-of-a-killed-run"), b"half a tensor").unwrap();
}

#[test]
fn a_resumed_run_ends_in_the_same_bytes() {
    for (method, placement) in
        [("rtn", None), ("rosaq", Some(Placement::Absorbed)), ("rosaq", Some(Placement::Shortcut))]
    {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut job = job(&fixture("tiny-llama"), method, 4, &out);
        job.settings.placement = placement;
        quantize(&job, None, Progress::Quiet).unwrap();
        let whole = weight_files(&out);
        unfinish(&job, 2);
        quantize(&job, None, Progress::Quiet).unwrap();
        assert_eq!(names(&weight_files(&out)), names(&whole), "{method}");
        assert!(weight_files(&out) == whole, "{method}: bytes differ");
        assert!(!work_dir(&out).exists());
    }
}

fn names(files: &[(String, Vec<u8>)]) -> Vec<&String> {
    files.iter().map(|(name, _)| name).collect()
}

#[test]
fn damaged_leftovers_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let job = job(&fixture("tiny-qwen2"), "rtn", 3, &out);
    quantize(&job, None, Progress::Quiet).unwrap();
    let whole = weight_files(&out);
    unfinish(&job, 2);
    let shard = work_dir(&out).join("checkpoint").join(
        whole
            .iter()
            .find(|(name, _)| name.starts_with("model-00002"))
            .map(|(name, _)| name)
            .unwrap(),
    );
    let mut bytes = fs::read(&shard).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&shard, bytes).unwrap();
    quantize(&job, None, Progress::Quiet).unwrap();
    assert!(weight_files(&out) == whole);
}

#[test]
fn leftovers_of_another_job_are_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| dir.path().join(name));
    quantize(&job(&fixture("tiny-llama"), "rtn", 3, &a), None, Progress::Quiet).unwrap();
    let four = job(&fixture("tiny-llama"), "rtn", 4, &b);
    quantize(&four, None, Progress::Quiet).unwrap();
    let expected = weight_files(&b);
    // The three-bit shards stand where the four-bit job will look, under a state that is not its own.
    fs::remove_dir_all(&b).unwrap();
    fs::rename(&a, &b).unwrap();
    unfinish_as(&four, 3, &[7; 32]);
    quantize(&four, None, Progress::Quiet).unwrap();
    assert!(weight_files(&b) == expected);
}

#[test]
fn the_same_job_again_keeps_what_is_there_and_another_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut job = job(&fixture("tiny-llama"), "rtn", 4, &out);
    let first = quantize(&job, None, Progress::Quiet).unwrap();
    let written = fs::metadata(out.join("config.json")).unwrap().modified().unwrap();
    assert_eq!(quantize(&job, None, Progress::Quiet).unwrap(), first);
    assert_eq!(fs::metadata(out.join("config.json")).unwrap().modified().unwrap(), written);

    job.settings.bits = 3.try_into().unwrap();
    let refused = quantize(&job, None, Progress::Quiet).unwrap_err();
    assert!(matches!(refused, PipelineError::TargetExists { replaceable: true, .. }), "{refused}");
    assert!(refused.to_string().contains("--fresh"));

    job.fresh = true;
    quantize(&job, None, Progress::Quiet).unwrap();
    assert!(!work_dir(&out).exists());
}

#[test]
fn a_directory_of_somebody_else_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("thesis");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("chapter1.txt"), "precious").unwrap();
    let mut job = job(&fixture("tiny-llama"), "rtn", 4, &out);
    job.fresh = true;
    let refused = quantize(&job, None, Progress::Quiet).unwrap_err();
    assert!(matches!(refused, PipelineError::TargetExists { replaceable: false, .. }), "{refused}");
    assert_eq!(fs::read_to_string(out.join("chapter1.txt")).unwrap(), "precious");
}

#[test]
fn bytes_do_not_depend_on_the_number_of_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let job = job(&fixture("tiny-llama"), "rosaq", 3, &out);
        pool.install(|| quantize(&job, None, Progress::Quiet)).unwrap();
        weight_files(&out)
    };
    assert!(run(1) == run(3));
}
