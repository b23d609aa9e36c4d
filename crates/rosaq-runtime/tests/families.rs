//! Logits of tiny random models of every family against those of `transformers` in f32.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::path::PathBuf;

use rosaq_model::SourceModel;
use rosaq_runtime::{CacheForm, KvCache, Model, TokenTree};
use serde::Deserialize;

/// f32 sums in another order over a few dozen terms and two layers stay two orders below this.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
struct Golden {
    ids: Vec<u32>,
    logits: Vec<f32>,
}

fn golden_dir(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/golden/families")).join(name)
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f64| x * x;
    let difference: f64 = a.iter().zip(b).map(|(x, y)| square(f64::from(*x) - f64::from(*y))).sum();
    let norm: f64 = b.iter().map(|y| square(f64::from(*y))).sum();
    (difference / norm).sqrt()
}

fn model(path: PathBuf) -> Model {
    Model::streamed(SourceModel::open(&path).unwrap()).unwrap()
}

#[track_caller]
fn check(name: &str, path: PathBuf) {
    let json = fs::read_to_string(golden_dir(name).join("logits.json")).unwrap();
    let golden: Golden = serde_json::from_str(&json).unwrap();
    let expected = golden.logits;
    let model = model(path);
    let whole = model.logits(&golden.ids).unwrap();
    let off = distance(&whole.data, &expected);
    assert!(off < TOLERANCE, "{name}: logits differ by {off:e}");

    let mut cache = KvCache::new(model.config());
    let mut cached = Vec::new();
    let (prompt, rest) = golden.ids.split_at(5);
    cached.extend(model.decode(prompt, &mut cache).unwrap().data);
    for id in rest {
        cached.extend(model.decode(&[*id], &mut cache).unwrap().data);
    }
    let off = distance(&cached, &expected);
    assert!(off < TOLERANCE, "{name}: cached decoding differs by {off:e}");

    let mut cache = KvCache::of_form(model.config(), 1, CacheForm::F16);
    let mut cached = model.decode(prompt, &mut cache).unwrap().data;
    for id in rest {
        cached.extend(model.decode(&[*id], &mut cache).unwrap().data);
    }
    let off = distance(&cached, &expected);
    // Keys and values are off by up to 2^-11, 4.9e-4; and by something, or they were not rounded.
    assert!((1e-6..2e-3).contains(&off), "{name}: decoding with a cache of f16 differs by {off:e}");
}

#[test]
fn llama2_with_as_many_value_heads_as_heads() {
    check("llama2-mha", golden_dir("llama2-mha"));
}

#[test]
fn llama_grouped_tied_sharded_with_its_own_head_dim() {
    check("llama-gqa-tied", golden_dir("llama-gqa-tied"));
}

#[test]
fn llama3_rope_scaling() {
    check("llama3-rope", golden_dir("llama3-rope"));
}

#[test]
fn mistral_sliding_window() {
    check("mistral-sliding", golden_dir("mistral-sliding"));
}

#[test]
fn qwen2_biases() {
    check("qwen2-bias", golden_dir("qwen2-bias"));
}

#[test]
fn qwen3_query_and_key_norms() {
    check("qwen3-qk-norm", golden_dir("qwen3-qk-norm"));
}

#[test]
fn gguf_with_interleaved_rotary_rows() {
    check("llama-gguf", golden_dir("llama-gguf").join("model.gguf"));
}

#[test]
fn a_batch_of_sequences_gives_what_each_gives_alone() {
    let model = model(golden_dir("llama2-mha"));
    let (a, b): (&[u32], &[u32]) = (&[1, 5, 9, 2, 7], &[3, 3, 8]);
    let together = model.final_hidden(&[a, b], &|_| ()).unwrap();
    let alone = [a, b].map(|w| model.final_hidden(&[w], &|_| ()).unwrap()).concat();
    assert!(distance(&together, &alone) < 1e-6);
}

/// Sequences of different lengths that are decoded together, some tokens and then one at a time, past a sliding window.
#[test]
fn sequences_decoded_together_give_what_each_gives_alone() {
    for name in ["llama-gqa-tied", "mistral-sliding"] {
        let model = model(golden_dir(name));
        let prompts: [&[u32]; 3] = [&[1, 5, 9, 2], &[3, 3, 8, 6, 2, 4], &[7]];
        let mut cache = KvCache::of_sequences(model.config(), 3);
        cache.reserve(model.config(), 12).unwrap();
        let mut found = vec![model.next_logits(&prompts, &mut cache).unwrap()];
        let steps: [[u32; 3]; 4] = [[4, 1, 2], [5, 5, 5], [8, 2, 9], [3, 7, 1]];
        for step in &steps {
            let next: Vec<&[u32]> = step.iter().map(std::slice::from_ref).collect();
            found.push(model.next_logits(&next, &mut cache).unwrap());
        }
        assert_eq!(cache.lengths(), [8, 10, 5]);
        for (sequence, prompt) in prompts.iter().enumerate() {
            let tail = steps.iter().map(|step| step[sequence]);
            let tokens: Vec<u32> = prompt.iter().copied().chain(tail).collect();
            let alone = model.logits(&tokens).unwrap();
            for (step, found) in found.iter().enumerate() {
                let off = distance(found.row(sequence), alone.row(prompt.len() - 1 + step));
                assert!(off < TOLERANCE, "{name}, sequence {sequence}, step {step}: {off:e}");
            }
        }
    }
}

#[test]
fn keys_and_values_beyond_all_memory_are_refused() {
    let model = model(golden_dir("llama2-mha"));
    let mut cache = KvCache::of_sequences(model.config(), 2);
    let error = cache.reserve(model.config(), usize::MAX / 8).unwrap_err();
    assert!(error.to_string().contains("do not fit the memory"), "{error}");
}

/// A tree of three depths, whose paths are then run apart. The sliding window of `mistral-sliding` is shorter than a path.
#[test]
fn a_tree_gives_what_each_of_its_paths_gives_alone() {
    for name in ["llama2-mha", "mistral-sliding", "qwen3-qk-norm"] {
        let model = model(golden_dir(name));
        let runs: [&[u32]; 5] =
            [&[1, 5, 9, 2, 7, 4, 11], &[3, 3, 8, 6, 2], &[8], &[10, 2], &[1, 2, 3]];
        let parents = [None, Some(0), Some(1), Some(0), None];
        let tree = TokenTree {
            tokens: &runs.concat(),
            lengths: &runs.map(<[u32]>::len),
            parents: &parents,
        };
        let found = model.tree_hidden(&[tree, tree], &|_| ()).unwrap();
        let (first, second) = found.split_at(found.len() / 2);
        assert!(distance(first, second) < 1e-6, "{name}: the second tree differs");
        let mut rest = first;
        for (run, tokens) in runs.iter().enumerate() {
            let mut path = tokens.to_vec();
            let mut above = parents[run];
            while let Some(parent) = above {
                path = [runs[parent], &path].concat();
                above = parents[parent];
            }
            let alone = model.final_hidden(&[&path], &|_| ()).unwrap();
            let size = tokens.len() * model.config().hidden_size;
            let (part, later) = rest.split_at(size);
            // f32 sums of a few dozen terms in another order.
            let off = distance(part, &alone[alone.len() - size..]);
            assert!(off < 1e-5, "{name}: run {run} differs by {off:e}");
            rest = later;
        }
    }
}
