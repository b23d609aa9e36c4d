//! What can go wrong in a job, and the exit code it deserves.

use std::path::PathBuf;

use rosaq_calib::CalibError;
use rosaq_checkpoint::CheckpointError;
use rosaq_eval::EvalError;
use rosaq_generate::GenerateError;
use rosaq_gradient::GradientError;
use rosaq_learn::LearnError;
use rosaq_methods::MethodError;
use rosaq_model::ModelError;
use rosaq_pack::PackError;
use rosaq_quant::QuantError;
use rosaq_runtime::RuntimeError;
use rosaq_tasks::TaskError;
use rosaq_tensor::TensorError;
use rosaq_text::TextError;

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Its tensors.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Text or tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
    /// Calibration statistics.
    #[error(transparent)]
    Calib(#[from] CalibError),
    /// The method.
    #[error(transparent)]
    Method(#[from] MethodError),
    /// A rotation that was to be learned.
    #[error(transparent)]
    Learn(#[from] LearnError),
    /// A model cannot be made as small as that.
    #[error(
        "a size of {asked} bytes is less than the {others} that embeddings, norms and headers take by themselves; ask for more"
    )]
    SizeTooSmall {
        /// What was asked for.
        asked: u64,
        /// What is not quantized.
        others: u64,
    },
    /// Embeddings or head cannot be stored.
    #[error("tensor `{tensor}`: {source}")]
    Table {
        /// Its name in the checkpoint.
        tensor: String,
        /// Why.
        source: QuantError,
    },
    /// Gradients could not be taken.
    #[error(transparent)]
    Gradient(#[from] GradientError),
    /// The packed checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The forward pass.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// No text came.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A conversation with a model that was not made for any.
    #[error(
        "{path:?} has no chat template (`chat_template.jinja`); give a plain prompt, without `--chat`"
    )]
    NoChatTemplate {
        /// The model.
        path: PathBuf,
    },
    /// The evaluation.
    #[error(transparent)]
    Eval(#[from] EvalError<RuntimeError>),
    /// Tasks and their data.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Packing.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The machine has not what is asked of it.
    #[error("{0}")]
    Machine(String),
    /// The target exists and is something else.
    #[error("\"{}\" exists and {reason}; choose another `--out`{}", path.display(), if *replaceable { " or replace it with `--fresh`" } else { "" })]
    TargetExists {
        /// The target.
        path: PathBuf,
        /// What it is.
        reason: &'static str,
        /// Whether `--fresh` would replace it.
        replaceable: bool,
    },
    /// A layer that the model does not have.
    #[error("`--layer {layer}`: the model has layers 0 to {}", n_layers - 1)]
    NoSuchLayer {
        /// What was asked for.
        layer: usize,
        /// How many there are.
        n_layers: usize,
    },
    /// The report beside the weights is damaged.
    #[error("\"{}\" is no report of this version of rosaq; `--fresh` makes the checkpoint again", path.display())]
    Report {
        /// The report.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A checkpoint computes something else than when it was made.
    #[error("\"{}\": logits differ by {distance:.1e} (relative) from those it had when it was made; its files are as they were written, so suspect the kernels of this processor", path.display())]
    OtherLogits {
        /// The checkpoint.
        path: PathBuf,
        /// `‖a − b‖ / ‖b‖`.
        distance: f64,
    },
    /// Another process works on the same target.
    #[error("\"{}\" is being written by another process; wait for it or choose another `--out`", path.display())]
    Busy {
        /// The target.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} \"{}\"; check the disk's space and permissions", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A program without the feature `cuda`.
    #[error(
        "this program was built without CUDA; build it with `--features cuda` or run with --backend cpu"
    )]
    NoCuda,
}

impl PipelineError {
    /// A file-system error on `path`.
    pub(crate) fn disk(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Disk { action, path, source }
    }

    /// 1 when this machine failed (disk, memory), 2 when the input or the usage is at fault.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let is_disk = match self {
            Self::Disk { .. } | Self::Busy { .. } => true,
            Self::Checkpoint(e) | Self::Runtime(RuntimeError::Checkpoint(e)) => e.is_disk(),
            Self::Tensor(e)
            | Self::Model(ModelError::Tensor(e))
            | Self::Runtime(RuntimeError::Model(ModelError::Tensor(e))) => {
                matches!(e, TensorError::Write { .. })
            }
            Self::Calib(CalibError::Io { .. }) => true,
            _ => false,
        };
        if is_disk { 1 } else { 2 }
    }
}
