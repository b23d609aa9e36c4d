//! The one error type of this crate.

use std::path::PathBuf;

use crate::dtype::DType;

/// What can go wrong while tensors are read or written.
///
/// Only [`TensorError::Write`] is a failure of the machine's output side (disk full, no permission);
/// every other variant says that the input is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what its fields are")]
pub enum TensorError {
    /// A file or directory cannot be read.
    #[error("cannot read {path:?}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be written; nothing is left behind.
    #[error("cannot write {path:?}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A directory holds no checkpoint.
    #[error(
        "no checkpoint in {path:?}: expected `model.safetensors`, `model.safetensors.index.json` or \
         one `.gguf` file; convert other formats to safetensors first"
    )]
    NoCheckpoint { path: PathBuf },
    /// A directory holds several GGUF files and none is preferred.
    #[error("{found} `.gguf` files in {path:?}, expected one; name the file itself")]
    SeveralGguf { path: PathBuf, found: usize },
    /// A file is neither safetensors nor GGUF.
    #[error("{path:?} is neither a `.safetensors` nor a `.gguf` file")]
    UnknownFormat { path: PathBuf },
    /// A file ends before something its header promises.
    #[error(
        "{path:?} is truncated: {what} at byte {offset} needs {needed} bytes, {available} are left; \
         copy the file again"
    )]
    Truncated { path: PathBuf, what: &'static str, offset: usize, needed: u64, available: usize },
    /// A count, length or depth in a header is beyond what any real file has.
    #[error("{path:?}: {what} is {found}, the limit is {limit}; the file is damaged or hostile")]
    Limit { path: PathBuf, what: &'static str, found: u64, limit: u64 },
    /// Text in a file is not UTF-8.
    #[error("{path:?}: {what} is not valid UTF-8")]
    Utf8 {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: std::str::Utf8Error,
    },
    /// A JSON header or index cannot be parsed.
    #[error("{path:?}: {what} is not valid JSON of the expected form")]
    Json {
        path: PathBuf,
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// The crate `safetensors` refuses the header.
    #[error("{path:?}: the safetensors header is not consistent")]
    SafetensorsHeader {
        path: PathBuf,
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The data section is not as long as the header says.
    #[error(
        "{path:?}: the header describes {expected} bytes of tensor data, the file holds {found}; \
         copy the file again"
    )]
    DataLength { path: PathBuf, expected: u64, found: u64 },
    /// A name stands twice, in one file or in two shards.
    #[error("tensor `{tensor}` is defined twice in {path:?}")]
    DuplicateTensor { path: PathBuf, tensor: String },
    /// A metadata key stands twice.
    #[error("metadata key `{key}` is defined twice in {path:?}")]
    DuplicateKey { path: PathBuf, key: String },
    /// No tensor of that name.
    #[error("no tensor `{tensor}` in {path:?}, which holds {n_tensors} tensors")]
    MissingTensor { path: PathBuf, tensor: String, n_tensors: usize },
    /// The index names a tensor that its shard does not hold.
    #[error(
        "tensor `{tensor}` is listed in {index:?} under shard `{shard}`, which does not hold it; \
         the index and the shards come from different models or a download is incomplete"
    )]
    MissingInShard { index: PathBuf, tensor: String, shard: String },
    /// The index names a shard by something else than a file name beside it.
    #[error("{index:?} names the shard {shard:?}; expected a plain file name beside the index")]
    ShardName { index: PathBuf, shard: String },
    /// Shape, element type and storage do not go together.
    #[error(
        "tensor `{tensor}` in {path:?}: shape {shape:?} of type {dtype} does not give a valid size \
         (too large, or the last dimension is not a whole number of blocks)"
    )]
    InvalidSize { path: PathBuf, tensor: String, shape: Vec<u64>, dtype: DType },
    /// The stored bytes are not as many as the shape needs.
    #[error(
        "tensor `{tensor}` in {path:?}: expected {expected} bytes for its shape, found {found}"
    )]
    TensorBytes { path: PathBuf, tensor: String, expected: u64, found: u64 },
    /// A tensor does not begin where the one before it ends.
    #[error(
        "tensor `{tensor}` in {path:?}: expected its data at offset {expected}, found {found}; \
         overlaps and holes are refused"
    )]
    TensorOffset { path: PathBuf, tensor: String, expected: u64, found: u64 },
    /// A tensor's data lie outside the file.
    #[error(
        "tensor `{tensor}` in {path:?}: data end at offset {end} of a data section of {available} \
         bytes; the file is truncated, copy it again"
    )]
    TensorRange { path: PathBuf, tensor: String, end: u64, available: u64 },
    /// An element type that is not supported there.
    #[error(
        "tensor `{tensor}` in {path:?}: element type {found} is not supported; convert the model \
         to F16, BF16 or F32 first"
    )]
    UnsupportedDType { path: PathBuf, tensor: String, found: String },
    /// The element type is not the one asked for.
    #[error("tensor `{tensor}` in {path:?}: expected {expected}, found {found}")]
    WrongDType { path: PathBuf, tensor: String, expected: &'static str, found: DType },
    /// The shape is not the one asked for.
    #[error("tensor `{tensor}` in {path:?}: expected shape {expected:?}, found {found:?}")]
    Shape { path: PathBuf, tensor: String, expected: Vec<usize>, found: Vec<usize> },
    /// The tensor has another number of dimensions.
    #[error("tensor `{tensor}` in {path:?}: expected {expected} dimensions, found shape {found:?}")]
    Rank { path: PathBuf, tensor: String, expected: usize, found: Vec<usize> },
    /// Rows outside of the tensor were asked for.
    #[error("tensor `{tensor}` in {path:?}: rows {start}..{end} of {n_rows} were asked for")]
    Rows { path: PathBuf, tensor: String, start: usize, end: usize, n_rows: usize },
    /// A stored value is NaN or infinite.
    #[error(
        "tensor `{tensor}` in {path:?}: element {index} is {value}; expected finite numbers, the \
         checkpoint is damaged"
    )]
    NonFinite { path: PathBuf, tensor: String, index: usize, value: f32 },
    /// A value does not fit f16.
    #[error("tensor `{tensor}`: element {index} is {value}, which f16 (up to 65504) cannot hold")]
    NotF16 { tensor: String, index: usize, value: f32 },
    /// A file does not begin as a GGUF file does.
    #[error("{path:?} is not a GGUF file: expected it to begin with `GGUF`, found {found:02x?}")]
    GgufMagic { path: PathBuf, found: [u8; 4] },
    /// A GGUF version or byte order that is not read.
    #[error(
        "{path:?}: GGUF version {found}, expected 2 or 3, little-endian; convert the file anew"
    )]
    GgufVersion { path: PathBuf, found: u32 },
    /// A GGUF metadata type number that does not exist, or a value out of its domain.
    #[error("{path:?}: {what} at byte {offset} has the invalid value {found}")]
    GgufValue { path: PathBuf, what: &'static str, offset: usize, found: u64 },
    /// A GGUF file is one part of several.
    #[error(
        "{path:?} is one of {n_parts} parts; merge them into one file first \
         (`llama-gguf-split --merge`)"
    )]
    GgufSplit { path: PathBuf, n_parts: u64 },
    /// A metadata key is absent.
    #[error("metadata key `{key}` is missing in {path:?}")]
    MissingKey { path: PathBuf, key: String },
    /// A metadata value is of another type, or does not fit it.
    #[error("metadata key `{key}` in {path:?}: expected {expected}, found {found}")]
    KeyType { path: PathBuf, key: String, expected: &'static str, found: String },
}
