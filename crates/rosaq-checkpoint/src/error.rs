//! What can be wrong with a packed checkpoint.

use std::io;
use std::path::PathBuf;

use rosaq_model::ModelError;
use rosaq_pack::PackError;
use rosaq_tensor::TensorError;

/// Why a packed checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A tensor or a file of tensors is not what it should be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The model's configuration is not what it should be.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A configuration or index file cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A configuration or index file cannot be written; what stood there before still does.
    #[error("cannot write {path:?}")]
    Write {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A configuration or index file is too long to be one.
    #[error("{path:?} has {found} bytes, the limit is {limit}; the file is damaged or hostile")]
    TooLong {
        /// File.
        path: PathBuf,
        /// Bytes of the file.
        found: u64,
        /// Bytes accepted.
        limit: u64,
    },
    /// JSON that cannot be parsed, or lacks the form expected there.
    #[error("{path:?}: {what} is not valid JSON of the expected form; copy the file again")]
    Json {
        /// File.
        path: PathBuf,
        /// Which part of it.
        what: &'static str,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// The directory holds a model, but none that rosaq packed.
    #[error(
        "{path:?}: expected `quantization_config` with `quant_method` \"rosaq\", found {found}; \
         quantize the model first"
    )]
    NotRosaq {
        /// Configuration file.
        path: PathBuf,
        /// What stands there instead.
        found: String,
    },
    /// A format version that this release does not know.
    #[error(
        "{path:?}: format version {found}, expected {expected}; a newer rosaq wrote it: update rosaq, \
         or quantize again with this one"
    )]
    Version {
        /// File.
        path: PathBuf,
        /// Version as the file gives it.
        found: String,
        /// The version this release reads.
        expected: u32,
    },
    /// The configuration is not the one that was written.
    #[error(
        "{path:?} was changed after it was written: expected checksum {expected}, found {found}; \
         restore the file, or remove `checksum` from `quantization_config` if the change is intended"
    )]
    ConfigChecksum {
        /// Configuration file.
        path: PathBuf,
        /// Checksum in the file.
        expected: String,
        /// Checksum of the file.
        found: String,
    },
    /// A tensor's bytes are not the ones that were written.
    #[error(
        "tensor `{tensor}` in {path:?} is damaged: expected checksum {expected}, found {found}; \
         copy the file again"
    )]
    Checksum {
        /// File.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// BLAKE3 checksum in the header.
        expected: String,
        /// BLAKE3 checksum of the bytes.
        found: String,
    },
    /// The header of a shard lacks something that every shard of a checkpoint has.
    #[error("{path:?}: metadata `{key}`: expected {expected}, found {found}; copy the file again")]
    Metadata {
        /// Shard.
        path: PathBuf,
        /// Key of the safetensors metadata.
        key: String,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A linear of the model is not described.
    #[error(
        "{path:?}: linear `{module}` is not described; the configuration and the weights come from \
         different models or a file is damaged"
    )]
    MissingLinear {
        /// File with the descriptions.
        path: PathBuf,
        /// Module name.
        module: String,
    },
    /// A description belongs to no linear of the model.
    #[error("{path:?}: `{module}` is described, but is no linear of this model or of this shard")]
    UnknownLinear {
        /// File with the descriptions.
        path: PathBuf,
        /// Module name.
        module: String,
    },
    /// A linear of another shape than the model's configuration demands.
    #[error(
        "{path:?}: linear `{module}`: expected shape {expected:?} from the model's sizes, found \
         {found:?}"
    )]
    LinearShape {
        /// File with the description.
        path: PathBuf,
        /// Module name.
        module: String,
        /// Shape `[out, in]` by the model's configuration.
        expected: [usize; 2],
        /// Shape `[out, in]` by the description.
        found: [usize; 2],
    },
    /// The configuration and the shard describe a linear differently.
    #[error(
        "linear `{module}` is described differently in {config:?} and in {shard:?}; the files come \
         from different runs: copy all files again"
    )]
    LinearMismatch {
        /// Configuration file.
        config: PathBuf,
        /// Shard.
        shard: PathBuf,
        /// Module name.
        module: String,
    },
    /// A linear whose description or numbers are illegal.
    #[error("linear `{module}` in {path:?} cannot be used")]
    Packed {
        /// File.
        path: PathBuf,
        /// Module name.
        module: String,
        /// Cause.
        #[source]
        source: PackError,
    },
    /// A tensor that belongs to nothing.
    #[error(
        "tensor `{tensor}` in {path:?} belongs to no part of this model; the file is damaged or comes \
         from another model"
    )]
    UnclaimedTensor {
        /// Shard.
        path: PathBuf,
        /// Tensor.
        tensor: String,
    },
    /// A tensor of another element type than the format gives it.
    #[error("tensor `{tensor}` in {path:?}: expected type {expected}, found {found}")]
    WrongType {
        /// Shard.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// Type by the format.
        expected: rosaq_tensor::DType,
        /// Type in the file.
        found: rosaq_tensor::DType,
    },
    /// A table of levels that no code width has.
    #[error(
        "codebook `{tensor}` in {path:?}: expected a list of 4, 8 or 16 levels, found shape {found:?}"
    )]
    CodebookShape {
        /// Shard.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// Linears that were packed with other codebooks than the model's.
    #[error(
        "the linears in {path:?} were packed with other codebooks than the model's; pack all blocks \
         with one set of codebooks"
    )]
    Codebooks {
        /// Shard.
        path: PathBuf,
    },
    /// The index does not say what the shards hold.
    #[error(
        "{path:?} lists tensor `{tensor}` under {found}, expected {expected}; copy all files again"
    )]
    Index {
        /// Index file.
        path: PathBuf,
        /// Tensor.
        tensor: String,
        /// Shard that holds it.
        expected: String,
        /// Shard by the index.
        found: String,
    },
}

impl CheckpointError {
    /// Whether the machine's storage failed (disk full, input/output error, no permission to
    /// write), as opposed to input that is missing or wrong.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        match self {
            Self::Write { .. } => true,
            Self::Read { source, .. } => is_storage_failure(source),
            Self::Tensor(error) | Self::Model(ModelError::Tensor(error)) => match error {
                TensorError::Write { .. } => true,
                TensorError::Read { source, .. } => is_storage_failure(source),
                _ => false,
            },
            Self::Model(ModelError::ConfigUnreadable { source, .. }) => is_storage_failure(source),
            _ => false,
        }
    }
}

/// A path that names nothing readable is the caller's input; everything else is the storage.
fn is_storage_failure(error: &io::Error) -> bool {
    use io::ErrorKind::{
        InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    let input =
        [InvalidData, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied];
    !input.contains(&error.kind())
}
