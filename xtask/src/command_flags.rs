//! The flags of each command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::flags::{
    CalibrationFlags, MethodFlags, ModelFlags, OutputFlags, PresetName, TableName, TaskFlags,
    TextFlags, parse_bits, parse_group_size, parse_target_bits,
};
use crate::run_flags::{ActivationForm, PlaceFlags};
use crate::shapes::{Shapes, parse_shapes, parse_speed};

#[derive(Debug, Args)]
pub(crate) struct QuantizeFlags {
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// The method: fp16, rtn, gptq, awq, spinquant, mixed, rosaq, spectral
    #[arg(long, default_value = "spectral")]
    pub(crate) method: String,
    /// Code width: 2, 3, 4, 5, 6 or 8
    #[arg(long, default_value = "4", value_parser = parse_bits)]
    pub(crate) bits: u8,
    /// Stored bits a weight that the linears are to take on average, everything counted: 2 to 8 (method `spectral`)
    #[arg(long, value_name = "BITS", conflicts_with = "bits", value_parser = parse_target_bits)]
    pub(crate) target_bits: Option<f64>,
    /// Size that the checkpoint's weights are to take, embeddings included, such as 100MB (method `spectral`)
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["bits", "target_bits"])]
    pub(crate) target_size: Option<bytesize::ByteSize>,
    /// Channels that share a scale
    #[arg(long, default_value = "128", value_parser = parse_group_size)]
    pub(crate) group_size: usize,
    #[command(flatten)]
    pub(crate) settings: MethodFlags,
    /// Numbers that embeddings and head are kept in
    #[arg(long, default_value = "f16")]
    pub(crate) embeddings: TableName,
    /// Directory to make [default: out/MODEL-METHOD-BITS]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
    /// Keep calibration statistics and gradients here, and take those of an earlier run on the same model and text; with
    /// them `--dry-run` knows what divergence to expect of `spectral`
    #[arg(long, value_name = "DIR")]
    pub(crate) statistics: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) text: TextFlags,
    /// Do not measure the result
    #[arg(long, conflicts_with = "max_ppl_increase")]
    pub(crate) no_eval: bool,
    /// Start over instead of resuming; replace an earlier result
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Write a report with plots, one HTML file
    #[arg(long, value_name = "FILE.html", conflicts_with = "dry_run")]
    pub(crate) report: Option<PathBuf>,
    /// Predict size, memory, disk, operations and quality, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// End with code 3 if perplexity rises by more than this many percent
    #[arg(long, value_name = "PERCENT")]
    pub(crate) max_ppl_increase: Option<f64>,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

#[derive(Debug, Args)]
pub(crate) struct EvalFlags {
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// The original, from which the KL divergence is taken
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) text: TextFlags,
    /// End with code 3 if perplexity is this many percent above the reference's
    #[arg(long, value_name = "PERCENT", requires = "reference")]
    pub(crate) max_ppl_increase: Option<f64>,
    #[command(flatten)]
    pub(crate) tasks: TaskFlags,
    /// How activations meet the weights of a rosaq checkpoint on the processor
    #[arg(long, value_name = "FORM", default_value = "f32")]
    pub(crate) activations: ActivationForm,
    #[command(flatten)]
    pub(crate) place: PlaceFlags,
    /// Write each question with the log-likelihoods of its choices, one JSON object a line
    #[arg(long, value_name = "FILE.jsonl", requires = "data")]
    pub(crate) samples: Option<PathBuf>,
    /// Directory in which scored questions are kept [default: out/MODEL-tasks]
    #[arg(long, value_name = "DIR", requires = "data")]
    pub(crate) out: Option<PathBuf>,
    /// Score questions anew that were scored before
    #[arg(long, requires = "data")]
    pub(crate) fresh: bool,
    /// Compute every choice with its context by itself, and keep nothing: to measure what sharing saves
    #[arg(long, hide = true, requires = "data")]
    pub(crate) no_sharing: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// What commands share that print a table of methods.
#[derive(Debug, Args)]
pub(crate) struct TableFlags {
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// Code widths, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "4,3", value_parser = parse_bits)]
    pub(crate) bits: Vec<u8>,
    /// Write the table with plots, one HTML file
    #[arg(long, value_name = "FILE.html")]
    pub(crate) report: Option<PathBuf>,
    /// Write the table as comma-separated values
    #[arg(long, value_name = "FILE.csv")]
    pub(crate) csv: Option<PathBuf>,
    /// Directory for the checkpoints [default: out/MODEL-compare], or a figure's file
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,
    #[command(flatten)]
    pub(crate) text: TextFlags,
    #[command(flatten)]
    pub(crate) tasks: TaskFlags,
    /// Start over instead of resuming
    #[arg(long)]
    pub(crate) fresh: bool,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

#[derive(Debug, Args)]
pub(crate) struct CompareFlags {
    /// Methods, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "rtn,mixed,rosaq")]
    pub(crate) methods: Vec<String>,
    /// Stored bits a weight, everything counted, separated by commas, for methods that take an average (`spectral`); the others go by `--bits`
    #[arg(long, value_delimiter = ',', value_name = "BITS", value_parser = parse_target_bits)]
    pub(crate) target_bits: Vec<f64>,
    /// Beside each method that has parts to leave out (`spectral`), itself without each of them
    #[arg(long, conflicts_with = "without")]
    pub(crate) ablation: bool,
    /// Group sizes, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "128", value_parser = parse_group_size)]
    pub(crate) group_size: Vec<usize>,
    #[command(flatten)]
    pub(crate) settings: MethodFlags,
    #[command(flatten)]
    pub(crate) table: TableFlags,
}

/// What of the paper is made.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PaperItem {
    /// All methods at each width
    Table1,
    /// Saliency rules: top, bottom, random, top and bottom eigenvalues
    Table2,
    /// Rotation at the output projection: head by head, global, none
    Table3,
    /// Decoding speed of FP16, AWQ, GPTQ and ROSAQ
    Table4,
    /// All methods at each width, with their accuracies on `--tasks`
    #[value(name = "tables5-7")]
    Tables57,
    /// The channels of largest magnitude, rotated and original
    Table8,
    /// Magnitudes of all channels before and after rotation, as SVG
    Figure2,
}

#[derive(Debug, Args)]
pub(crate) struct ReproduceFlags {
    /// Table or figure
    pub(crate) item: PaperItem,
    /// Channels that share a scale
    #[arg(long, default_value = "128", value_parser = parse_group_size)]
    pub(crate) group_size: usize,
    /// Salient channels of linears that read the residual [default: hidden size / 32, the paper's share]
    #[arg(long, value_name = "K")]
    pub(crate) salient: Option<usize>,
    /// Salient channels of each head [default: head size / 32]
    #[arg(long, value_name = "K")]
    pub(crate) salient_per_head: Option<usize>,
    /// A named set of settings; single settings override it
    #[arg(long)]
    pub(crate) preset: Option<PresetName>,
    /// Block that table 8 and figure 2 look at [default: the middle one]
    #[arg(long)]
    pub(crate) layer: Option<usize>,
    /// Seed of random choices
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Measurements of table 4: sequences and tokens of each prompt, of which as many are generated, separated by commas
    #[arg(long, value_name = "BATCHxTOKENS", value_delimiter = ',', default_value = "64x256,128x128", value_parser = parse_speed)]
    pub(crate) throughput: Vec<(usize, usize)>,
    /// How activations meet packed weights on the processor in table 4
    #[arg(long, value_name = "FORM", default_value = "int8")]
    pub(crate) activations: ActivationForm,
    #[command(flatten)]
    pub(crate) place: PlaceFlags,
    #[command(flatten)]
    pub(crate) table: TableFlags,
}

#[derive(Debug, Args)]
pub(crate) struct LogitsFlags {
    #[command(flatten)]
    pub(crate) model: ModelFlags,
    /// A JSON list of token ids
    #[arg(long, value_name = "FILE")]
    pub(crate) ids: PathBuf,
    /// NumPy file to write, f32 [tokens, vocabulary]
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyFlags {
    /// A rosaq checkpoint
    #[arg(value_name = "DIR")]
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Backend {
    /// Scalar and the vector units of this processor
    Cpu,
    /// The CUDA kernels on a device, in programs built with `--features cuda`
    Cuda,
    /// The CUDA kernels on an emulator: counts, and bounds from data sheets
    Emulated,
}

#[derive(Debug, Args)]
pub(crate) struct BenchFlags {
    /// Which kernels
    #[arg(long, default_value = "cpu")]
    pub(crate) backend: Backend,
    /// Which CUDA device, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) device: usize,
    /// Code widths, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "2,3,4,8", value_parser = parse_bits)]
    pub(crate) bits: Vec<u8>,
    /// Channels that share a scale
    #[arg(long, default_value = "128", value_parser = parse_group_size)]
    pub(crate) group_size: usize,
    /// Rows and columns of the weight, or all shapes of a model: `llama-7b`, `llama-13b`
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "4096x4096", value_parser = parse_shapes)]
    pub(crate) shape: Shapes,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}
