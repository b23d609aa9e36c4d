//! Jobs on models, shared by the end-to-end tests.
#![allow(dead_code, reason = "every test program uses its own part")]

use std::path::{Path, PathBuf};

use rosaq_pipeline::{
    Amount, CalibrationSet, EvalModel, EvalText, Evaluation, MethodSettings, Progress, QuantizeJob,
    QuantizeReport, Reference, TableWidth, TokenWeighting, quantize,
};
use rosaq_tensor::Matrix;

/// A file or directory of the fixtures.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

/// A job on `model` with a small calibration set.
pub(crate) fn job(model: &Path, method: &str, bits: u8, out: &Path) -> QuantizeJob {
    QuantizeJob {
        tables: TableWidth::F16,
        model: model.to_owned(),
        method: method.to_owned(),
        settings: MethodSettings::new(bits, 128).expect("a known width"),
        calibration: CalibrationSet {
            path: fixture("text/calibration.txt"),
            sequences: Amount::Exactly(16),
            length: 256,
            weighting: TokenWeighting::Equal,
            products: None,
        },
        out: out.to_owned(),
        fresh: false,
    }
}

/// The held-out text.
pub(crate) fn held_out(context: usize, max_segments: Option<usize>) -> EvalText {
    EvalText { path: fixture("text/held-out.txt"), context: Some(context), max_segments }
}

/// A model as the reference on a text.
pub(crate) fn reference(model: &Path, text: &EvalText) -> (Reference, rosaq_pipeline::EvalTokens) {
    let model = EvalModel::open(model).unwrap();
    let tokens = model.tokens(text).unwrap();
    (model.into_reference(&tokens, None, Progress::Quiet).unwrap(), tokens)
}

/// Quantizes, reloads, measures.
pub(crate) fn run(
    job: &QuantizeJob,
    reference: &(Reference, rosaq_pipeline::EvalTokens),
) -> (QuantizeReport, Evaluation) {
    let report = quantize(job, None, Progress::Quiet).unwrap();
    let model = EvalModel::open(&job.out).unwrap();
    let found = model.evaluate(&reference.1, Some(&reference.0), Progress::Quiet).unwrap();
    (report, found)
}

/// `‖a − b‖ / ‖b‖`.
pub(crate) fn distance(a: &Matrix, b: &Matrix) -> f64 {
    let square = |x: f64| x * x;
    let pairs = a.data.iter().zip(&b.data);
    let difference: f64 = pairs.map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
    let norm: f64 = b.data.iter().map(|y| square(f64::from(*y))).sum();
    (difference / norm).sqrt()
}

/// Every file of a directory with its bytes, sorted by name.
pub(crate) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The same without the report, which holds times.
pub(crate) fn weight_files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    files(dir).into_iter().filter(|(name, _)| name != "rosaq-report.json").collect()
}
