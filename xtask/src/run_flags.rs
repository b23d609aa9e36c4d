//! The flags of commands that run models.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rosaq_pipeline::{Activations, PipelineError, Place};

use crate::flags::{ModelFlags, OutputFlags, parse_count};

#[derive(Debug, Args)]
pub(crate) struct GenerateFlags {
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// What to go on from
    #[arg(long, value_name = "TEXT", default_value = "Once upon a time")]
    pub(crate) prompt: String,
    /// Take the prompt as a message, and answer it as the model's chat template has it
    #[arg(long)]
    pub(crate) chat: bool,
    /// A system message before the prompt
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub(crate) system: Option<String>,
    /// Tokens to come at most
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) max_tokens: usize,
    /// What logits are divided by; 0 takes the most probable token always
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f32,
    /// Only the K most probable tokens can come; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: usize,
    /// Only the most probable tokens that make up this share can come
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(crate) top_p: f32,
    /// Only tokens of at least this share of the most probable one's probability can come
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// A string that ends the text; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    /// Go on when the model ends its text
    #[arg(long)]
    pub(crate) ignore_end: bool,
    /// How activations meet the weights of a rosaq checkpoint on the processor
    #[arg(long, value_name = "FORM", default_value = "int8")]
    pub(crate) activations: ActivationForm,
    #[command(flatten)]
    pub(crate) place: PlaceFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// Where models run.
#[derive(Debug, Args)]
pub(crate) struct PlaceFlags {
    /// What runs the model
    #[arg(long, default_value = "cpu")]
    pub(crate) backend: RunBackend,
    /// Which CUDA device, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) device: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunBackend {
    /// The processor
    Cpu,
    /// A CUDA device, in programs built with `--features cuda`
    Cuda,
}

impl PlaceFlags {
    /// The place, opened; `activations` are those of the processor.
    pub(crate) fn open(&self, activations: ActivationForm) -> Result<Place, PipelineError> {
        match self.backend {
            RunBackend::Cpu => Ok(Place::Cpu(activations.into())),
            RunBackend::Cuda => Place::cuda(self.device),
        }
    }
}

/// How activations meet packed weights.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ActivationForm {
    /// As they are; keys and values too
    F32,
    /// Rounded to eight bits where weights are codes, keys and values of generated text to f16; several times as fast
    Int8,
}

impl From<ActivationForm> for Activations {
    fn from(form: ActivationForm) -> Self {
        match form {
            ActivationForm::F32 => Self::F32,
            ActivationForm::Int8 => Self::Int8,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ThroughputFlags {
    /// Rosaq checkpoints, and models in f16
    #[arg(value_name = "MODEL", required_unless_present = "reference")]
    pub(crate) models: Vec<PathBuf>,
    /// The model in f16 that speeds are set against
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: Option<PathBuf>,
    /// Sequences decoded together, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64,128", value_parser = parse_count)]
    pub(crate) batch: Vec<usize>,
    /// Tokens of each prompt; as many are generated
    #[arg(long, value_name = "N", default_value = "128", value_parser = parse_count)]
    pub(crate) tokens: usize,
    /// How activations meet the weights of a rosaq checkpoint on the processor
    #[arg(long, value_name = "FORM", default_value = "int8")]
    pub(crate) activations: ActivationForm,
    #[command(flatten)]
    pub(crate) place: PlaceFlags,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}
