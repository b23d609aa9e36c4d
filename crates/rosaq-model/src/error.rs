//! What can be wrong with a model.

use std::path::PathBuf;

use rosaq_tensor::TensorError;

/// Why a model could not be understood or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The architecture is in no family table.
    #[error("\"{}\": unknown architecture `{found}`; known: {known}", path.display())]
    UnknownArchitecture {
        /// The configuration file, or the GGUF file.
        path: PathBuf,
        /// What the checkpoint calls itself.
        found: String,
        /// Every known family.
        known: String,
    },
    /// The configuration file cannot be read.
    #[error("cannot read \"{}\"; a Hugging Face model directory holds `config.json` beside its safetensors", path.display())]
    ConfigUnreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is no JSON object of the expected form.
    #[error("\"{}\" is not a valid model configuration", path.display())]
    ConfigSyntax {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A field is missing, out of range, contradictory or asks for what rosaq does not do.
    #[error("\"{}\": field `{field}`: {reason}", path.display())]
    ConfigField {
        /// The file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The file formats' own complaint.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A tensor stands in the checkpoint that the configuration has no place for.
    #[error("tensor `{tensor}` in \"{}\" contradicts the configuration: {reason}", path.display())]
    Contradiction {
        /// The checkpoint.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Why it should not be there.
        reason: String,
    },
    /// The model is already quantized by some tool.
    #[error("\"{}\" is already quantized (`quant_method` is `{quant_method}`); give the original checkpoint", path.display())]
    AlreadyQuantized {
        /// The configuration file.
        path: PathBuf,
        /// The tool's name for it.
        quant_method: String,
    },
    /// A token id is outside the embedding table.
    #[error(
        "token id {id} is outside the vocabulary of {vocab_size}; is this the model's own tokenizer?"
    )]
    TokenOutOfRange {
        /// The id.
        id: u32,
        /// Rows of the embedding table.
        vocab_size: usize,
    },
}
