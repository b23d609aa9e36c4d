//! Everything against finite differences: pieces and blocks of a plain forward pass in f64, whole models of the runtime.

mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rosaq_model::{BlockWeights, LINEAR_ROLES, ModelConfig, ModelEnds, Role, SourceModel};
use rosaq_runtime::{Blocks, Model, RopeTable};
use rosaq_tensor::{DType, Matrix, TensorData, write_safetensors};
use rosaq_text::TokenWindows;

use crate::attention::{AttentionInputs, attend, attend_backward};
use crate::block::BlockBackward;
use crate::fisher::gradients_of_windows;
use crate::head::{head_backward, sample_label};
use crate::rms_norm::Normalized;
use crate::{GradientError, OutputFisher, output_fisher};

/// Gradients are f32 sums of up to a few hundred terms, where each rounding is 6e-8 of a term; the differences, in f64 with a
/// step of 1e-4 in values of about one, are exact to 1e-7. An error in a formula changes a gradient by a tenth of its size or
/// more.
const TOLERANCE: f64 = 3e-5;

const STEP: f64 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(name)
}

fn family(name: &str) -> SourceModel {
    SourceModel::open(&fixture("golden/families").join(name)).unwrap()
}

/// `n` numbers in -1..1.
fn random(n: usize, seed: u64) -> Vec<f32> {
    use rand_chacha::rand_core::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn dot(a: &[f64], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * f64::from(*y)).sum()
}

/// Compares entries of `gradient` with the differences of `loss`, a function of an entry's index and what is added to it; 40
/// entries spread over all.
#[track_caller]
fn check_differences(what: &str, gradient: &[f32], loss: impl Fn(usize, f64) -> f64) {
    let mean_square = wide(gradient).iter().map(|g| g * g).sum::<f64>() / gradient.len() as f64;
    let size = mean_square.sqrt();
    assert!(size > 1e-4, "{what}: a gradient of {size:e} tests nothing");
    for entry in (0..40).map(|i| i * gradient.len() / 40 + i % 7).filter(|&e| e < gradient.len()) {
        let expected = (loss(entry, STEP) - loss(entry, -STEP)) / (2.0 * STEP);
        let off = (f64::from(gradient[entry]) - expected).abs() / size;
        assert!(
            off < TOLERANCE,
            "{what}: entry {entry} is {} instead of {expected}, off by {off:e} of the mean size",
            gradient[entry]
        );
    }
}

/// `values` with `step` added to one.
fn moved(values: &[f32], entry: usize, step: f64) -> Vec<f64> {
    let mut values = wide(values);
    values[entry] += step;
    values
}

#[test]
fn norm_goes_back() {
    let (x, gain, upstream) = (random(5 * 24, 1), random(24, 2), random(5 * 24, 3));
    let norm = Normalized::of(&x, 24, 1e-2); // large enough to matter
    let mut gradient = upstream.clone();
    norm.backward(&gain, &mut gradient);
    check_differences("norm", &gradient, |entry, step| {
        dot(&reference::rms_norm(&moved(&x, entry, step), &gain, 1e-2), &upstream)
    });
}

#[test]
fn gate_goes_back() {
    let scaled = |seed| random(90, seed).iter().map(|v| v * 4.0).collect::<Vec<f32>>();
    let (gate, up, upstream) = (scaled(4), scaled(5), random(90, 6));
    let (mut d_gate, mut d_up) = (gate.clone(), up.clone());
    rosaq_cpu::silu_mul_backward(&mut d_gate, &mut d_up, &upstream);
    check_differences("gate", &d_gate, |entry, step| {
        dot(&reference::gated(&moved(&gate, entry, step), &wide(&up)), &upstream)
    });
    check_differences("up", &d_up, |entry, step| {
        dot(&reference::gated(&wide(&gate), &moved(&up, entry, step)), &upstream)
    });
}

/// More tokens than a block of queries, so that blocks meet keys of earlier ones.
#[track_caller]
fn check_attention(sliding_window: Option<usize>) {
    const TOKENS: usize = 130;
    let config = ModelConfig { sliding_window, ..family("llama-gqa-tied").config().clone() };
    let (width, kv_width) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let matrix = |width, seed| Matrix::new(TOKENS, width, random(TOKENS * width, seed));
    let inputs = AttentionInputs {
        query: matrix(width, 7),
        key: matrix(kv_width, 8),
        value: matrix(kv_width, 9),
    };
    let upstream = matrix(width, 10);
    let heads = attend(&config, &inputs);
    let [q, k, v] = [&inputs.query, &inputs.key, &inputs.value].map(|m| &m.data);
    let plain = |q: &[f64], k: &[f64], v: &[f64]| reference::attention(&config, q, k, v);
    let expected = plain(&wide(q), &wide(k), &wide(v));
    let off =
        wide(&heads.data).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-5, "heads are off by {off:e}"); // f32 sums of 130 terms
    let d = attend_backward(&config, &inputs, &heads, &upstream);
    check_differences("query", &d.query.data, |entry, step| {
        dot(&plain(&moved(q, entry, step), &wide(k), &wide(v)), &upstream.data)
    });
    check_differences("key", &d.key.data, |entry, step| {
        dot(&plain(&wide(q), &moved(k, entry, step), &wide(v)), &upstream.data)
    });
    check_differences("value", &d.value.data, |entry, step| {
        dot(&plain(&wide(q), &wide(k), &moved(v, entry, step)), &upstream.data)
    });
}

#[test]
fn attention_goes_back() {
    check_attention(None);
}

#[test]
fn attention_with_a_sliding_window_goes_back() {
    check_attention(Some(19));
}

/// Gradients of the outputs of all linears and of the input of both blocks of a random model.
#[track_caller]
fn check_blocks(name: &str) {
    const TOKENS: usize = 17;
    let source = family(name);
    let config = source.config();
    let rope = RopeTable::new(config, TOKENS);
    for layer in 0..config.n_layers {
        let block = source.load_block(layer).unwrap();
        let input = random(TOKENS * config.hidden_size, 11);
        let upstream = random(input.len(), 12);
        let mut gradient = upstream.clone();
        let outputs =
            BlockBackward { config, rope: &rope, block: &block }.run(&input, &mut gradient);
        check_differences(&format!("{name}: input of block {layer}"), &gradient, |entry, step| {
            dot(&reference::block(config, &block, &moved(&input, entry, step), None), &upstream)
        });
        for (role, gradient) in LINEAR_ROLES.into_iter().zip(&outputs) {
            assert_eq!([gradient.rows, gradient.cols], [TOKENS, config.linear_shape(role)[0]]);
            let what = format!("{name}: {role} of block {layer}");
            check_differences(&what, &gradient.data, |entry, step| {
                let offset = Some((role, entry, step));
                dot(&reference::block(config, &block, &wide(&input), offset), &upstream)
            });
        }
    }
}

#[test]
fn blocks_with_grouped_heads_go_back() {
    check_blocks("llama-gqa-tied");
}

#[test]
fn blocks_with_a_sliding_window_go_back() {
    check_blocks("mistral-sliding");
}

#[test]
fn blocks_with_biases_go_back() {
    check_blocks("qwen2-bias");
}

#[test]
fn blocks_with_query_and_key_norms_go_back() {
    check_blocks("qwen3-qk-norm");
}

/// More tokens than have their logits computed at once.
#[track_caller]
fn check_head(name: &str) {
    const TOKENS: usize = 300;
    let source = family(name);
    let (config, ends) = (source.config(), source.load_ends().unwrap());
    let hidden = random(TOKENS * config.hidden_size, 13);
    let label = |token: usize| (token * 31 + 5) % config.vocab_size;
    let mut gradient = hidden.clone();
    head_backward(config, &ends, &mut gradient, &|token, _| Some(label(token)), &|_| ()).unwrap();
    check_differences(name, &gradient, |entry, step| {
        let token = entry / config.hidden_size;
        let row = &moved(&hidden, entry, step)[token * config.hidden_size..][..config.hidden_size];
        reference::head_loss(config, &ends, row, label(token))
    });
}

#[test]
fn tied_head_goes_back() {
    check_head("llama-gqa-tied");
}

#[test]
fn untied_head_goes_back() {
    check_head("qwen2-bias");
}

#[test]
fn logits_that_are_no_numbers_are_refused() {
    let source = family("qwen2-bias");
    let (config, ends) = (source.config(), source.load_ends().unwrap());
    let mut hidden = random(300 * config.hidden_size, 14);
    hidden[270 * config.hidden_size + 3] = f32::NAN;
    let choose = |token: usize, p: &[f32]| sample_label(0, token, p);
    assert_eq!(head_backward(config, &ends, &mut hidden, &choose, &|_| ()), Err(270));
}

#[test]
fn labels_are_drawn_as_often_as_is_probable() {
    let probabilities = [0.5, 0.0, 0.25, 0.2, 0.05, 0.0];
    let mut counts = [0; 6];
    const DRAWS: usize = 20_000;
    for token in 0..DRAWS {
        counts[sample_label(3, token, &probabilities).unwrap()] += 1;
    }
    for (p, count) in probabilities.into_iter().zip(counts) {
        let p = f64::from(p);
        let deviation = (DRAWS as f64 * p * (1.0 - p)).sqrt();
        let off = (f64::from(count) - DRAWS as f64 * p).abs();
        assert!(off <= 4.0 * deviation, "{count} draws of a label with probability {p}");
    }
    assert_eq!(sample_label(3, 0, &[f32::NAN, 1.0]), None);
    let draws =
        |seed| (0..64).map(move |t| sample_label(seed, t, &probabilities)).collect::<Vec<_>>();
    assert_eq!(draws(3), draws(3));
    assert_ne!(draws(3), draws(4));
}

/// A model in memory, to change.
struct Parts {
    config: ModelConfig,
    ends: ModelEnds,
    blocks: Vec<BlockWeights>,
}

impl Parts {
    fn of(source: &SourceModel) -> Self {
        let config = source.config().clone();
        let blocks = (0..config.n_layers).map(|layer| source.load_block(layer).unwrap()).collect();
        Self { config, ends: source.load_ends().unwrap(), blocks }
    }

    /// The sum of the cross entropies against `labels` after `offset` was added to the outputs of a linear, by the runtime.
    #[expect(clippy::cast_possible_truncation, reason = "biases are f32")]
    fn loss(
        &self,
        windows: &TokenWindows,
        labels: &[usize],
        place: (usize, Role),
        offset: &[f64],
    ) -> f64 {
        let mut blocks = self.blocks.clone();
        let linear = blocks[place.0].linear_mut(place.1);
        let bias = linear.bias.get_or_insert_with(|| vec![0.0; offset.len()]);
        bias.iter_mut().zip(offset).for_each(|(b, o)| *b += *o as f32);
        let blocks = Blocks::Dense(blocks);
        let model = Model::from_parts(self.config.clone(), self.ends.clone(), blocks);
        let mut labels = labels.iter();
        let mut loss = 0.0;
        for window in windows.windows() {
            let logits = model.logits(window).unwrap();
            loss += logits
                .data
                .chunks_exact(logits.cols)
                .zip(&mut labels)
                .map(|(row, &label)| reference::cross_entropy(&wide(row), label))
                .sum::<f64>();
        }
        loss
    }
}

/// The gradient of a whole model's loss against differences of the runtime's logits, for an offset of all tokens' outputs: along
/// the gradient, and of the output with the largest one.
///
/// The logits are f32, so a loss of about 1,000 is exact to about 1e-4, and its change of 0.1 to 1e-3.
#[track_caller]
fn check_loss(name: &str) {
    let source = SourceModel::open(&fixture(name)).unwrap();
    let vocab_size = source.config().vocab_size;
    let tokens = (0..96).map(|i| i * 37 % 500 + 1).collect();
    let windows = TokenWindows::new(tokens, 48).unwrap();
    let labels: Vec<usize> = (0..96).map(|i| (i * 101 + 7) % vocab_size).collect();
    let sums = |gradients: &[Matrix; 7]| {
        gradients.each_ref().map(|m| {
            let column = |i: usize| (0..m.rows).map(|t| f64::from(m.row(t)[i])).sum::<f64>();
            (0..m.cols).map(column).collect::<Vec<f64>>()
        })
    };
    let choose = |token: usize, _: &[f32]| Some(labels[token]);
    let found = gradients_of_windows(&source, &windows, &choose, &sums, &|_| ()).unwrap();
    let parts = Parts::of(&source);
    for layer in [0, found.len() - 1] {
        for (role_idx, role) in LINEAR_ROLES.into_iter().enumerate() {
            let [first, second] = [0, 1].map(|window| &found[layer][window][role_idx]);
            let gradient: Vec<f64> = first.iter().zip(second).map(|(a, b)| a + b).collect();
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            let along: Vec<f64> = gradient.iter().map(|g| g / norm).collect();
            let largest = gradient.iter().map(|g| g.abs()).fold(0.0, f64::max);
            let one: Vec<f64> = gradient
                .iter()
                .map(|g| if g.abs() == largest { g.signum() } else { 0.0 })
                .collect();
            for (direction, expected) in [(along, norm), (one, largest)] {
                let step = 0.05 / expected;
                let loss = |step: f64| {
                    let offset: Vec<f64> = direction.iter().map(|d| d * step).collect();
                    parts.loss(&windows, &labels, (layer, role), &offset)
                };
                let difference = (loss(step) - loss(-step)) / (2.0 * step);
                let off = (difference / expected - 1.0).abs();
                assert!(
                    off < 2e-3,
                    "{name}: {role} of layer {layer}: {expected} instead of {difference}"
                );
            }
        }
    }
}

#[test]
fn loss_of_tiny_llama_goes_back() {
    check_loss("tiny-llama");
}

#[test]
fn loss_of_tiny_qwen2_goes_back() {
    check_loss("tiny-qwen2");
}

/// A window of one token, many times over, against the expectation over all labels that it can be followed by.
#[test]
fn sampled_labels_give_the_fisher_information() {
    const TOKEN: u32 = 9;
    const DRAWS: usize = 6000;
    let source = family("llama2-mha");
    let vocab_size = source.config().vocab_size;
    let windows = TokenWindows::new(vec![TOKEN; vocab_size], 1).unwrap();
    let squares = |gradients: &[Matrix; 7]| {
        gradients.each_ref().map(|m| wide(&m.data).iter().map(|g| g * g).sum::<f64>())
    };
    let choose = |label: usize, _: &[f32]| Some(label);
    let each = gradients_of_windows(&source, &windows, &choose, &squares, &|_| ()).unwrap();
    let model = Model::streamed(family("llama2-mha")).unwrap();
    let logits = wide(&model.logits(&[TOKEN]).unwrap().data);
    let windows = TokenWindows::new(vec![TOKEN; DRAWS], 1).unwrap();
    let found = output_fisher(&source, &windows, 1, &|_| ()).unwrap();
    for (layer, labels) in each.iter().enumerate() {
        for (role_idx, role) in LINEAR_ROLES.into_iter().enumerate() {
            let found: f64 = found.linear(layer, role).iter().sum();
            let probability = |label| (-reference::cross_entropy(&logits, label)).exp();
            let expected: f64 = labels
                .iter()
                .enumerate()
                .map(|(l, squares)| probability(l) * squares[role_idx])
                .sum();
            // A token that sees itself alone attends to nothing else, so queries and keys do not matter.
            if matches!(role, Role::Query | Role::Key) {
                assert!(found < 1e-10, "{role} of layer {layer}: {found:e}");
                continue;
            }
            // Squared gradients of 96 labels spread about as far as their mean; 6,000 draws leave 2 %.
            let off = (found / expected - 1.0).abs();
            assert!(off < 0.06, "{role} of layer {layer}: {found:e} instead of {expected:e}");
        }
    }
}

fn fisher_with_threads(n_threads: usize) -> OutputFisher {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
    pool.install(|| {
        let source = SourceModel::open(&fixture("tiny-qwen2")).unwrap();
        let windows = TokenWindows::new((0..300).map(|i| i * 53 % 700).collect(), 100).unwrap();
        output_fisher(&source, &windows, 5, &|_| ()).unwrap()
    })
}

#[test]
fn threads_do_not_matter() {
    assert_eq!(fisher_with_threads(1), fisher_with_threads(2));
}

#[test]
fn progress_rises_to_one() {
    let source = family("qwen2-bias");
    let windows = TokenWindows::new((0..60).collect(), 20).unwrap();
    let heard = std::cell::RefCell::new(Vec::new());
    let fisher =
        output_fisher(&source, &windows, 0, &|share| heard.borrow_mut().push(share)).unwrap();
    let heard = heard.into_inner();
    assert!(heard.windows(2).all(|pair| pair[0] <= pair[1]), "{heard:?}");
    assert!((heard.last().unwrap() - 1.0).abs() < 1e-12 && heard[0] > 0.0, "{heard:?}");
    assert_eq!(fisher.layers.len(), source.config().n_layers);
}

#[test]
fn no_window_is_refused() {
    let windows = TokenWindows::new(vec![1, 2], 3).unwrap();
    let error = output_fisher(&family("qwen2-bias"), &windows, 0, &|_| ()).unwrap_err();
    assert!(matches!(error, GradientError::NoWindows), "{error}");
}

#[test]
fn unknown_tokens_are_refused() {
    let windows = TokenWindows::new(vec![1, 96], 2).unwrap();
    let error = output_fisher(&family("qwen2-bias"), &windows, 0, &|_| ()).unwrap_err();
    assert!(error.to_string().contains("96"), "{error}");
}

/// The family's model in `dir`, with the weights of a few linears of the first block multiplied.
fn scaled_family(name: &str, dir: &Path, scales: &[(Role, f32)]) -> SourceModel {
    let source = family(name);
    let file = fixture("golden/families").join(name).join("config.json");
    std::fs::copy(file, dir.join("config.json")).unwrap();
    let scale_of = |tensor: &str| {
        let scaled = |s: &&(Role, f32)| source.config().tensor_name(s.0, 0) == tensor;
        scales.iter().find(scaled).map_or(1.0, |s| s.1)
    };
    let tensor = |name: &str| {
        let view = source.store().get(name).unwrap();
        let values = view.to_f32().unwrap().into_iter().map(|v| v * scale_of(name));
        let bytes = values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into();
        TensorData { name: name.to_owned(), dtype: DType::F32, shape: view.shape.to_vec(), bytes }
    };
    let tensors: Vec<_> = source.store().names().map(tensor).collect();
    write_safetensors(&dir.join("model.safetensors"), &tensors, BTreeMap::new()).unwrap();
    SourceModel::open(dir).unwrap()
}

#[track_caller]
fn check_overflow(scales: &[(Role, f32)], expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let source = scaled_family("mistral-sliding", dir.path(), scales);
    let windows = TokenWindows::new((0..60).collect(), 20).unwrap();
    let found = output_fisher(&source, &windows, 0, &|_| ()).map(|_| "no error");
    let error = found.expect_err(expected);
    assert!(error.to_string().starts_with(expected), "{error}");
}

/// A product of gate, up and down that is moderate, of factors that are not: the way back meets gate and down without up.
#[test]
fn gradients_that_overflow_name_the_layer() {
    let scales = [(Role::Gate, 30.0), (Role::Up, 1e-39), (Role::Down, 1e38)];
    check_overflow(&scales, "gradients at layer 0 are not finite");
}

#[test]
fn hidden_states_that_overflow_name_the_layer() {
    let scales = [(Role::Down, 1e38), (Role::Up, 1e20)];
    check_overflow(&scales, "hidden states after layer 0 are not finite");
}
