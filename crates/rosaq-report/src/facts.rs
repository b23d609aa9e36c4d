//! What a report holds. Every part may be missing; what is missing is not rendered.

use serde::{Deserialize, Serialize};

use crate::{LinearError, Magnitudes, Spectrum};

/// All that is known of one quantized model. In JSON, missing fields take their defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Heading of the page and of the model card.
    pub title: String,
    /// Name and version of the program, such as `rosaq 0.1.0`.
    pub generated_by: String,
    /// The command that made the checkpoint, as one would type it.
    pub command: Option<String>,
    /// The source model.
    pub model: ModelFacts,
    /// Settings as name and value, in the order in which they are shown.
    pub settings: Vec<(String, String)>,
    /// The main figures.
    pub summary: Summary,
    /// Time and memory by stage, in the order of the run.
    pub stages: Vec<Stage>,
    /// Bits by role.
    pub roles: Vec<RoleBits>,
    /// Output error of each quantized linear.
    pub errors: Vec<LinearError>,
    /// Eigenvalues of Gram matrices.
    pub spectra: Vec<Spectrum>,
    /// Channel magnitudes before and after rotation.
    pub magnitudes: Vec<Magnitudes>,
    /// Methods side by side on the same model, text and windows.
    pub comparison: Vec<ComparisonRow>,
    /// Remarks for the reader, one paragraph each.
    pub notes: Vec<String>,
}

/// The source model, in the words of its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    /// The model's name or path.
    pub name: String,
    /// Its id on the Hugging Face Hub, if it has one; goes into the model card's `base_model`.
    pub base_model: Option<String>,
    /// Architecture family, such as `llama`.
    pub family: Option<String>,
    /// Number of parameters, tied ones once.
    pub parameters: Option<u64>,
    /// Width of the residual stream.
    pub hidden_size: Option<usize>,
    /// Blocks.
    pub n_layers: Option<usize>,
    /// Query heads of a block.
    pub n_heads: Option<usize>,
    /// Key and value heads of a block.
    pub n_kv_heads: Option<usize>,
    /// Channels of a head.
    pub head_dim: Option<usize>,
    /// Width of the MLP.
    pub intermediate_size: Option<usize>,
    /// Entries of the vocabulary.
    pub vocab_size: Option<usize>,
    /// Whether the language-model head is the embedding table.
    pub tied_embeddings: Option<bool>,
}

/// The main figures. `None` means that the figure was not measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The method's name.
    pub method: String,
    /// Stored bits a quantized weight, everything counted.
    pub bits_per_weight: Option<f64>,
    /// Bits a quantized weight of codes, scales, zero points and f16 channels alone.
    pub weight_bits: Option<f64>,
    /// Bytes of the checkpoint's weights, embeddings included.
    pub total_bytes: Option<u64>,
    /// Bytes of the whole source model in f16.
    pub source_bytes: Option<u64>,
    /// Perplexity of the source model.
    pub perplexity_fp16: Option<f64>,
    /// Perplexity of the quantized model.
    pub perplexity_quantized: Option<f64>,
    /// KL divergence of the source's next-token distribution from the quantized model's, nats per token.
    pub kl: Option<f64>,
    /// Its standard error.
    pub kl_stderr: Option<f64>,
    /// The text of these measurements.
    pub text: Option<String>,
    /// Tokens of one window of that text.
    pub context: Option<usize>,
    /// Tokens scored.
    pub tokens: Option<u64>,
    /// Seconds on the wall; the sum of the stages if missing.
    pub wall_seconds: Option<f64>,
    /// Processor seconds of all threads; the sum of the stages if missing.
    pub cpu_seconds: Option<f64>,
    /// Largest resident set; the largest of the stages if missing.
    pub peak_rss_bytes: Option<u64>,
}

/// Time and memory of one stage of the run. Stages do not overlap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stage {
    /// The stage's name.
    pub name: String,
    /// Seconds on the wall.
    pub wall_seconds: f64,
    /// Processor seconds of all threads.
    pub cpu_seconds: f64,
    /// Largest resident set of the process during the stage.
    pub peak_rss_bytes: Option<u64>,
}

/// Storage of all linears of one role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleBits {
    /// The role's word.
    pub role: String,
    /// Original weights of these linears.
    pub weights: u64,
    /// Stored bits for each of them.
    pub bits_per_weight: f64,
}

/// One method at one setting.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComparisonRow {
    /// The method's name; `fp16` is the source model and is shown first.
    pub method: String,
    /// Code width; a fraction where the width is an average.
    pub bits: Option<f64>,
    /// Channels that share a scale.
    pub group_size: Option<usize>,
    /// Other settings, in words.
    pub settings: Option<String>,
    /// Stored bits a quantized weight, everything counted.
    pub bits_per_weight: f64,
    /// Bits a quantized weight of codes, scales, zero points and f16 channels alone.
    pub weight_bits: Option<f64>,
    /// Bytes of the checkpoint's weights, embeddings included.
    pub total_bytes: Option<u64>,
    /// Perplexity.
    pub perplexity: Option<f64>,
    /// KL divergence from the source model, nats per token.
    pub kl: Option<f64>,
    /// Its standard error.
    pub kl_stderr: Option<f64>,
    /// Processor seconds of calibration and quantization.
    pub cpu_seconds: Option<f64>,
    /// Largest resident set of the process.
    pub peak_rss_bytes: Option<u64>,
    /// Accuracies on tasks, in the order of the table.
    pub tasks: Vec<TaskAccuracy>,
}

/// How well a model answers the questions of a task, of a group of its parts, or of several tasks on average.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskAccuracy {
    /// The task's name, or the group's.
    pub name: String,
    /// How questions are marked, such as `acc_norm`; `None` for an average of tasks.
    pub metric: Option<String>,
    /// Questions; 0 if unknown.
    pub rows: usize,
    /// Share of right answers, from 0 to 1.
    pub share: f64,
    /// Its standard error.
    pub stderr: Option<f64>,
}

impl TaskAccuracy {
    /// Whether this is an average of several tasks.
    pub(crate) fn is_average(&self) -> bool {
        self.metric.is_none()
    }
}

impl Report {
    /// Seconds on the wall: as given, or the sum of the stages.
    pub(crate) fn wall_seconds(&self) -> Option<f64> {
        self.summary.wall_seconds.or_else(|| self.sum_of_stages(|s| s.wall_seconds))
    }

    /// Processor seconds: as given, or the sum of the stages.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        self.summary.cpu_seconds.or_else(|| self.sum_of_stages(|s| s.cpu_seconds))
    }

    /// Peak memory: as given, or the largest of the stages.
    pub(crate) fn peak_rss_bytes(&self) -> Option<u64> {
        let of_stages = || self.stages.iter().filter_map(|s| s.peak_rss_bytes).max();
        self.summary.peak_rss_bytes.or_else(of_stages)
    }

    fn sum_of_stages(&self, seconds: impl Fn(&Stage) -> f64) -> Option<f64> {
        (!self.stages.is_empty()).then(|| self.stages.iter().map(seconds).sum())
    }
}

impl ModelFacts {
    /// Name and value of every fact that is known.
    pub(crate) fn known(&self) -> Vec<(&'static str, String)> {
        use crate::number::count;
        let size = |n: Option<usize>| n.map(|n| count(n as u64));
        let name = Some(self.name.clone()).filter(|n| !n.is_empty());
        [
            ("name", name),
            ("base_model", self.base_model.clone()),
            ("family", self.family.clone()),
            ("parameters", self.parameters.map(count)),
            ("hidden_size", size(self.hidden_size)),
            ("intermediate_size", size(self.intermediate_size)),
            ("n_layers", size(self.n_layers)),
            ("n_heads", size(self.n_heads)),
            ("n_kv_heads", size(self.n_kv_heads)),
            ("head_dim", size(self.head_dim)),
            ("vocab_size", size(self.vocab_size)),
            ("tied_embeddings", self.tied_embeddings.map(|t| if t { "yes" } else { "no" }.into())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

impl ComparisonRow {
    /// Whether this is the source model.
    pub(crate) fn is_fp16(&self) -> bool {
        self.method.eq_ignore_ascii_case("fp16")
    }
}
