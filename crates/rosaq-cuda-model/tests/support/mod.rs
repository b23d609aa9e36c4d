//! One model on the processor and on the emulated device.

#[path = "../../../rosaq-cuda/tests/support/driver.rs"]
mod driver;

use std::sync::Arc;

pub(crate) use driver::device;
use rosaq_cuda_model::{CudaDevice, CudaModel};
use rosaq_model::{BlockWeights, ModelConfig, ModelEnds};
use rosaq_pack::PackedLinear;
use rosaq_runtime::{Activations, Backend, Blocks, Model, RuntimeError};

/// Largest relative error of logits, `norm(found - expected) / norm(expected)`: on the device, inputs of linears, keys and values
/// are f16, each rounded by up to 2^-11 = 4.9e-4 relative; logits after several blocks stay within some units of that.
const TOLERANCE: f64 = 4e-3;

fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "values");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let pairs = found.iter().zip(expected);
    norm(&mut pairs.map(|(a, b)| f64::from(a - b)))
        / norm(&mut expected.iter().map(|&b| f64::from(b)))
}

#[track_caller]
fn check(name: &str, found: &[f32], expected: &[f32]) {
    let off = distance(found, expected);
    println!("{name}: {off:.1e}");
    assert!(off < TOLERANCE, "{name}: relative error {off:.2e}");
}

/// One model on both, from the same packed weights.
pub(crate) struct Both {
    cpu: Model,
    cuda: CudaModel,
}

pub(crate) type Parts = (ModelConfig, ModelEnds<PackedLinear>, Vec<BlockWeights<PackedLinear>>);

impl Both {
    pub(crate) fn new(device: &Arc<CudaDevice>, (config, ends, blocks): Parts) -> Self {
        let given = blocks.iter().cloned().map(Ok::<_, RuntimeError>);
        let cuda = CudaModel::new(Arc::clone(device), &config, ends.clone(), given);
        let cuda = cuda.expect("a model on the device");
        let cpu = Model::from_parts(config, ends, Blocks::packed(blocks, Activations::F32));
        Self { cpu, cuda }
    }

    /// The model on the device takes so many tokens at a time.
    #[allow(dead_code, reason = "not every test program asks for it")]
    pub(crate) fn in_passes(self, tokens: usize) -> Self {
        Self { cuda: self.cuda.with_pass(tokens), ..self }
    }

    pub(crate) fn check(&self, name: &str) {
        self.check_windows(name);
        self.check_sequences(name);
    }

    fn check_windows(&self, name: &str) {
        let vocab = self.cpu.config().vocab_size;
        let [one, two] = [tokens(11, 3, vocab), tokens(5, 8, vocab)];
        let windows = [&one[..], &two[..]];
        let [expected, found] = [&self.cpu as &dyn Backend, &self.cuda].map(|model| {
            let hidden = model.final_hidden(&windows, &|_| ()).expect("hidden states");
            let mut logits = vec![0.0; 16 * vocab];
            model.logits_into(&hidden, &mut logits).expect("logits");
            (hidden, logits)
        });
        check(&format!("{name}: hidden states"), &found.0, &expected.0);
        check(&format!("{name}: logits"), &found.1, &expected.1);
    }

    /// Two prompts of different lengths, then some steps.
    fn check_sequences(&self, name: &str) {
        let vocab = self.cpu.config().vocab_size;
        let models = [&self.cpu as &dyn Backend, &self.cuda];
        let mut sequences = models.map(|model| model.sequences(2, 20).expect("room"));
        let prompts = [tokens(9, 1, vocab), tokens(4, 2, vocab)];
        for step in 0..4 {
            let next = [tokens(1, 30 + step, vocab), tokens(1, 40 + step, vocab)];
            let fed = if step == 0 { &prompts } else { &next };
            let fed: Vec<&[u32]> = fed.iter().map(Vec::as_slice).collect();
            let [expected, found] =
                sequences.each_mut().map(|sequences| sequences.feed(&fed).expect("logits"));
            check(&format!("{name}: step {step}"), &found.data, &expected.data);
        }
    }
}

fn tokens(n: usize, seed: usize, vocab: usize) -> Vec<u32> {
    (0..n).map(|i| u32::try_from((i * 7919 + seed * 104_729 + 1) % vocab).expect("an id")).collect()
}
