//! The flags that commands share. One meaning each, wherever they appear.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Parser, Subcommand, ValueEnum};
use rosaq_pipeline::{
    Amount, CalibrationSet, EvalText, MethodSettings, OutputRotation, Part, Preset, Products,
    TableWidth, TaskJob, TokenWeighting,
};

use crate::command_flags::{
    BenchFlags, CompareFlags, EvalFlags, LogitsFlags, QuantizeFlags, ReproduceFlags, VerifyFlags,
};
use crate::run_flags::{GenerateFlags, ThroughputFlags};

/// Squeezes large language models into few bits, and proves what is left of them.
///
/// Exit codes: 0 done, 1 failed (disk, machine), 2 bad usage or bad input, 3 a bar asked for by a flag was missed,
/// 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Quantize a model, save it, reload it and measure it. Without arguments: the bundled LLaMA at INT4.
    Quantize(QuantizeFlags),
    /// Perplexity of a model and KL divergence from its original, or its accuracy on multiple-choice tasks.
    Eval(EvalFlags),
    /// Several methods side by side on one model.
    Compare(CompareFlags),
    /// Tables and figures of the ROSAQ paper, on any model
    Reproduce(ReproduceFlags),
    /// Text from a model
    Generate(GenerateFlags),
    /// Decoding speed of checkpoints beside the model in f16
    Throughput(ThroughputFlags),
    /// Logits of a model as a NumPy file, to compare with other software.
    Logits(LogitsFlags),
    /// Re-read a checkpoint and compare every tensor with its checksum.
    Verify(VerifyFlags),
    /// Speed of the packed products beside the machine's read bandwidth.
    BenchKernels(BenchFlags),
    /// Compile the CUDA kernels to the PTX that is committed, and hold them to their budgets.
    Kernels(KernelsFlags),
    /// Check the rules of the workspace: crate dependencies, file sizes, places of unsafe code.
    Tidy,
}

impl Command {
    /// How many threads it may use; all cores if not given.
    pub(crate) fn threads(&self) -> Option<usize> {
        let output = match self {
            Self::Quantize(flags) => &flags.output,
            Self::Eval(flags) => &flags.output,
            Self::Compare(flags) => &flags.table.output,
            Self::Reproduce(flags) => &flags.table.output,
            Self::Generate(flags) => &flags.output,
            Self::Throughput(flags) => &flags.output,
            Self::Logits(flags) => &flags.output,
            Self::Verify(flags) => &flags.output,
            Self::BenchKernels(flags) => &flags.output,
            Self::Kernels(_) | Self::Tidy => return None,
        };
        output.threads
    }
}

/// The compiled kernels.
#[derive(Debug, Args)]
pub(crate) struct KernelsFlags {
    /// Write nothing; fail where committed files are not what the kernels give
    #[arg(long)]
    pub(crate) check: bool,
}

/// A model, as a positional argument or as `--model`.
#[derive(Debug, Args)]
pub(crate) struct ModelFlags {
    /// A Hugging Face directory or a GGUF file [default: the bundled tiny-llama]
    #[arg(value_name = "MODEL")]
    pub(crate) positional: Option<PathBuf>,
    /// The same as a flag
    #[arg(long, conflicts_with = "positional")]
    pub(crate) model: Option<PathBuf>,
}

impl ModelFlags {
    pub(crate) fn path(&self) -> PathBuf {
        let given = self.positional.as_ref().or(self.model.as_ref());
        given.cloned().unwrap_or_else(|| bundled("tiny-llama"))
    }
}

/// A file or directory of the bundled fixtures.
pub(crate) fn bundled(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).join("fixtures").join(name)
}

/// The calibration set.
#[derive(Debug, Args)]
pub(crate) struct CalibrationFlags {
    /// Calibration text: `.jsonl` with `text`, or plain text [default: the bundled text]
    #[arg(long, value_name = "FILE")]
    calib: Option<PathBuf>,
    /// Calibration windows [default: 128; as many as it holds of the bundled text]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    calib_sequences: Option<usize>,
    /// Tokens of a calibration window
    #[arg(long, value_name = "TOKENS", default_value = "512", value_parser = parse_count)]
    calib_length: usize,
    /// Weight tokens at the inputs of o and down by one over the residual's mean square, so that attention sinks do not decide
    #[arg(long)]
    weight_tokens: bool,
    /// Precision of the calibration pass [default: bf16 for `spectral` alone on processors that are faster with it, else f32]
    #[arg(long, value_name = "f32|bf16", value_parser = parse_products)]
    calib_products: Option<Products>,
}

impl CalibrationFlags {
    /// The first `n` windows at most.
    pub(crate) fn first(&self, n: usize) -> CalibrationSet {
        CalibrationSet { sequences: Amount::UpTo(n), ..self.set() }
    }

    pub(crate) fn set(&self) -> CalibrationSet {
        let n = self.calib_sequences.unwrap_or(128);
        let exact = self.calib.is_some() || self.calib_sequences.is_some();
        CalibrationSet {
            path: self.calib.clone().unwrap_or_else(|| bundled("text/calibration.txt")),
            sequences: if exact { Amount::Exactly(n) } else { Amount::UpTo(n) },
            length: self.calib_length,
            weighting: if self.weight_tokens {
                TokenWeighting::ByResidual
            } else {
                TokenWeighting::Equal
            },
            products: self.calib_products,
        }
    }
}

/// The text of an evaluation.
#[derive(Debug, Args)]
pub(crate) struct TextFlags {
    /// Text to measure on; `wiki.*.raw` is joined by rows [default: the bundled held-out text]
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Tokens of a window [default: 2048, or what the model was made for]
    #[arg(long, value_name = "TOKENS", value_parser = parse_context)]
    pub(crate) context: Option<usize>,
    /// Windows at most
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max_segments: Option<usize>,
}

impl TextFlags {
    pub(crate) fn text(&self) -> EvalText {
        EvalText {
            path: self.text.clone().unwrap_or_else(|| bundled("text/held-out.txt")),
            context: self.context,
            max_segments: self.max_segments,
        }
    }
}

/// Multiple-choice tasks.
#[derive(Debug, Args)]
pub(crate) struct TaskFlags {
    /// Tasks, separated by commas: csr for the seven common-sense tasks, mmlu, all, or single ones such as piqa and mmlu/anatomy
    #[arg(long, value_delimiter = ',', value_name = "TASKS", requires = "data")]
    tasks: Vec<String>,
    /// A task file of your own, or a folder of such; all of them where `--tasks` is not given
    #[arg(long, value_name = "FILE.toml", requires = "data")]
    task_file: Option<PathBuf>,
    /// Folder with the data of the tasks, in a folder each
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Take the first N rows of each file
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "data")]
    limit: Option<usize>,
    /// Examples with answers before each question, for tasks that have them (mmlu)
    #[arg(long, value_name = "K", default_value_t = 0, requires = "data")]
    shots: usize,
}

impl TaskFlags {
    /// Whether any task was asked for.
    pub(crate) fn any(&self) -> bool {
        !self.tasks.is_empty() || self.task_file.is_some()
    }

    /// The tasks that were asked for; `context` limits the tokens of a question.
    ///
    /// # Errors
    /// Flags about tasks without a task.
    pub(crate) fn job(&self, context: Option<usize>) -> anyhow::Result<Option<TaskJob>> {
        let Some(data) = &self.data else { return Ok(None) };
        if !self.any() {
            bail!(
                "`--data` names the data of tasks; add `--tasks`, where `csr` takes the seven common-sense tasks"
            );
        }
        Ok(Some(TaskJob {
            tasks: self.tasks.clone(),
            task_file: self.task_file.clone(),
            data: data.clone(),
            limit: self.limit,
            shots: self.shots,
            context,
        }))
    }
}

/// How output is written and how many cores are used.
#[derive(Debug, Args)]
pub(crate) struct OutputFlags {
    /// One JSON object on standard output; human text goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Threads [default: all cores]; results do not depend on it
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PresetName {
    /// Appendix G of the paper: K = 128, 32 per head, layer-wise eigenbases
    Paper,
}

impl From<PresetName> for Preset {
    fn from(PresetName::Paper: PresetName) -> Self {
        Self::Paper
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TableName {
    /// As they usually come
    F16,
    /// Rounded to nearest in groups of 128: half the size, nearly the same model
    Int8,
}

impl From<TableName> for TableWidth {
    fn from(name: TableName) -> Self {
        match name {
            TableName::F16 => Self::F16,
            TableName::Int8 => Self::Int8,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OutputRotationName {
    /// A basis for each value head, absorbed
    HeadWise,
    /// One basis over all heads, applied at run time
    Global,
    /// None
    None,
}

/// Settings of a method that do not vary within a comparison.
#[derive(Debug, Args)]
pub(crate) struct MethodFlags {
    /// Salient channels of linears that read the residual [default: hidden size / 32]
    #[arg(long, value_name = "K")]
    salient: Option<usize>,
    /// Salient channels of each head [default: head size / 32]
    #[arg(long, value_name = "K")]
    salient_per_head: Option<usize>,
    /// Rule of saliency: top, bottom, random, top-bottom, magnitude
    #[arg(long, value_name = "RULE", default_value = "top")]
    saliency: String,
    /// Placement of the residual rotation: absorbed, shortcut, online; several in compare [default: absorbed]
    #[arg(long, value_delimiter = ',', value_name = "PLACEMENT")]
    pub(crate) rotation: Vec<String>,
    /// ROSAQ: what is rotated at the output projection
    #[arg(long, default_value = "head-wise")]
    output_rotation: OutputRotationName,
    /// A named set of settings
    #[arg(long)]
    preset: Option<PresetName>,
    /// GPTQ: channels of largest energy first, in groups fitted beforehand
    #[arg(long)]
    act_order: bool,
    /// GPTQ: ranges tried for each group; 0 takes its whole range [default: 0; spinquant: 10]
    #[arg(long, value_name = "STEPS")]
    scale_steps: Option<usize>,
    /// `SpinQuant`: steps in which the rotations are learned; 0 leaves them random [default: 100]
    #[arg(long, value_name = "STEPS")]
    learning_steps: Option<usize>,
    /// Parts of `spectral` to leave out: rotation, down-hadamard, trellis, output-weights, sensitivity, refit
    #[arg(long, value_delimiter = ',', value_name = "PARTS")]
    without: Vec<Part>,
    /// Seed of random choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl MethodFlags {
    /// The settings at one width, group size and placement.
    pub(crate) fn settings(
        &self,
        bits: u8,
        group_size: usize,
        rotation: Option<&str>,
    ) -> anyhow::Result<MethodSettings> {
        let mut settings = MethodSettings::new(bits, group_size)?;
        settings.salient = self.salient;
        settings.salient_per_head = self.salient_per_head;
        settings.saliency =
            self.saliency.parse::<rosaq_pipeline::SaliencyRule>()?.with_seed(self.seed);
        settings.placement = rotation.map(str::parse).transpose()?;
        settings.output_rotation = match self.output_rotation {
            OutputRotationName::HeadWise => OutputRotation::HeadWise,
            OutputRotationName::Global => OutputRotation::Global,
            OutputRotationName::None => OutputRotation::None,
        };
        settings.act_order = self.act_order;
        settings.scale_steps = self.scale_steps;
        settings.learning_steps = self.learning_steps;
        settings.seed = self.seed;
        settings.without = self.without.iter().copied().collect();
        settings.preset = self.preset.map(Preset::from);
        Ok(settings)
    }
}

/// A code width; fractions belong to another flag.
pub(crate) fn parse_bits(text: &str) -> Result<u8, String> {
    match text.parse::<u8>() {
        Ok(bits @ (2..=6 | 8)) => Ok(bits),
        Ok(_) => Err("code widths are 2, 3, 4, 5, 6 and 8".to_owned()),
        Err(_) if text.parse::<f64>().is_ok() => Err(
            "the code width of a fixed grid is a whole number; an average such as 3.5 is what `--target-bits` of \
             the `spectral` method takes"
                .to_owned(),
        ),
        Err(_) => Err("expected a number".to_owned()),
    }
}

/// An average of bits a weight.
pub(crate) fn parse_target_bits(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(bits) if (2.0..=8.0).contains(&bits) => Ok(bits),
        _ => Err("expected a number from 2 to 8".to_owned()),
    }
}

pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if n >= 1 => Ok(n),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}

fn parse_products(text: &str) -> Result<Products, String> {
    match text {
        "f32" => Ok(Products::F32),
        "bf16" if rosaq_pipeline::bf16_is_fast() => Ok(Products::Bf16),
        "bf16" => Err("this processor has no AVX-512 BF16; leave it at f32".to_owned()),
        _ => Err("expected f32 or bf16".to_owned()),
    }
}

fn parse_context(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n) if n >= 2 => Ok(n),
        _ => Err("expected a whole number from 2: the first token predicts the second".to_owned()),
    }
}

pub(crate) fn parse_group_size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(n @ 1..=1_048_576) => Ok(n),
        _ => Err("expected a whole number from 1 to 1048576".to_owned()),
    }
}
