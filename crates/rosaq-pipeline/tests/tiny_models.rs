//! Every method on both bundled models, from the source to the perplexity of the reloaded checkpoint.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use common::{fixture, held_out, job, reference, run};
use rosaq_pipeline::{EvalModel, Progress, QuantizeJob, find};
use rosaq_rotate::Placement;
use rosaq_saliency::SaliencyRule;
use serde_json::Value;

fn expected(model: &str) -> Value {
    let json = std::fs::read_to_string(fixture("golden/expected.json")).unwrap();
    serde_json::from_str::<Value>(&json).unwrap()[model].clone()
}

/// Relative: another order of f32 additions moves a perplexity by about 1e-6, a wrong formula by more than 1e-2.
const PERPLEXITY_TOLERANCE: f64 = 1e-3;
/// Relative: KL divergences of the bundled models are small, so that the same f32 noise weighs more.
const KL_TOLERANCE: f64 = 1e-2;

#[track_caller]
fn close(name: &str, found: f64, expected: &Value, tolerance: f64) {
    let expected = expected.as_f64().unwrap();
    assert!((found / expected - 1.0).abs() < tolerance, "{name}: {found}, expected {expected}");
}

#[track_caller]
fn rtn_agrees_with_the_recorded_figures(model: &str) {
    let golden = expected(model);
    let dir = tempfile::tempdir().unwrap();
    let path = fixture(model);
    let reference = reference(&path, &held_out(256, None));
    let fp16 = reference.0.score().perplexity;
    close("fp16", fp16, &golden["perplexity"]["fp16"], PERPLEXITY_TOLERANCE);
    assert!(fp16 < 0.25 * golden["perplexity"]["unigram"].as_f64().unwrap());
    for bits in [4, 3, 2] {
        let key = format!("rtn{bits}");
        let (_, found) = run(&job(&path, "rtn", bits, &dir.path().join(&key)), &reference);
        close(&key, found.perplexity, &golden["perplexity"][&key], PERPLEXITY_TOLERANCE);
        close(&key, found.kl.unwrap(), &golden["kl"][&key], KL_TOLERANCE);
    }
}

#[test]
fn rtn_on_tiny_llama_gives_the_recorded_figures() {
    rtn_agrees_with_the_recorded_figures("tiny-llama");
}

#[test]
fn rtn_on_tiny_qwen2_gives_the_recorded_figures() {
    rtn_agrees_with_the_recorded_figures("tiny-qwen2");
}

#[test]
fn salient_channels_pay_on_both_models() {
    for model in ["tiny-llama", "tiny-qwen2"] {
        let dir = tempfile::tempdir().unwrap();
        let path = fixture(model);
        let reference = reference(&path, &held_out(256, Some(24)));
        let kl = |method: &str| {
            let mut job = job(&path, method, 3, &dir.path().join(method));
            // At the default count of these narrow models the rotation costs as much as the channels give.
            job.settings.salient = Some(32);
            job.settings.salient_per_head = Some(8);
            job.settings.placement = Some(Placement::Online);
            job.settings = job.settings.heeded_by(find(method).unwrap());
            run(&job, &reference).1.kl.unwrap()
        };
        let (fp16, rtn, mixed, rosaq) = (kl("fp16"), kl("rtn"), kl("mixed"), kl("rosaq"));
        assert!(fp16 < 1e-5, "{model}: f16 weights are the reference's own, KL {fp16}");
        assert!(mixed < rtn && rosaq < rtn, "{model}: rtn {rtn}, mixed {mixed}, rosaq {rosaq}");
    }
}

fn rosaq(model: &str, out: &std::path::Path, change: impl Fn(&mut QuantizeJob)) -> QuantizeJob {
    let mut job = job(&fixture(model), "rosaq", 3, out);
    change(&mut job);
    job
}

#[test]
fn top_eigenvalues_beat_bottom_ones_under_every_placement() {
    for (model, placement) in [
        ("tiny-llama", Placement::Absorbed),
        ("tiny-qwen2", Placement::Shortcut),
        ("tiny-llama", Placement::Online),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let reference = reference(&fixture(model), &held_out(256, Some(24)));
        let kl = |rule: SaliencyRule| {
            let out = dir.path().join(rule.to_string());
            let job = rosaq(model, &out, |job| {
                job.settings.saliency = rule;
                job.settings.placement = Some(placement);
            });
            run(&job, &reference).1.kl.unwrap()
        };
        let (top, bottom) = (kl(SaliencyRule::Top), kl(SaliencyRule::Bottom));
        assert!(top < bottom, "{model} {placement}: top {top}, bottom {bottom}");
    }
}

#[test]
fn a_plan_with_every_channel_salient_gives_the_model_back() {
    for (model, hidden, head_dim) in [("tiny-llama", 192, 32), ("tiny-qwen2", 144, 24)] {
        for placement in [Placement::Absorbed, Placement::Shortcut, Placement::Online] {
            let dir = tempfile::tempdir().unwrap();
            let reference = reference(&fixture(model), &held_out(256, Some(8)));
            let job = rosaq(model, &dir.path().join("out"), |job| {
                job.settings.salient = Some(hidden);
                job.settings.salient_per_head = Some(head_dim);
                job.settings.bits = 8.try_into().unwrap(); // down has no salient channels
                job.settings.placement = Some(placement);
            });
            let kl = run(&job, &reference).1.kl.unwrap();
            // What is left is the f16 rounding of rotated weights and matrices, and 8 bits for down.
            assert!(kl < 2e-4, "{model} {placement}: KL {kl}");
        }
    }
}

#[test]
fn reported_sizes_are_those_of_the_plan_and_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let reference = reference(&fixture("tiny-llama"), &held_out(256, Some(1)));
    let (report, _) = run(&rosaq("tiny-llama", &dir.path().join("out"), |_| ()), &reference);
    let on_disk: usize = common::files(&dir.path().join("out"))
        .iter()
        .filter(|(name, _)| name.ends_with(".safetensors"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(report.total_bytes, on_disk as u64);
    assert!(report.bits_per_weight > report.weight_bits);
    // K = 8 of 192 channels and 2 of 32 at every head, INT3: a little above 3.5 bits.
    assert!((3.2..4.0).contains(&report.weight_bits), "{}", report.weight_bits);
}

#[test]
fn the_tokenizer_travels_with_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let job = job(&fixture("tiny-qwen2"), "rtn", 4, &out);
    rosaq_pipeline::quantize(&job, None, Progress::Quiet).unwrap();
    let text = held_out(256, None);
    let [a, b] = [fixture("tiny-qwen2"), out].map(|p| EvalModel::open(&p).unwrap());
    assert_eq!(
        format!("{:?}", a.tokens(&text).unwrap()),
        format!("{:?}", b.tokens(&text).unwrap())
    );
}
