//! Headers of safetensors files.
//!
//! The crate `safetensors` parses; the checks before it are there to name the file and the tensor,
//! and to refuse names that stand twice, which a map would swallow.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use safetensors::SafeTensors;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::dtype::DType;
use crate::error::TensorError;
use crate::tensor::TensorEntry;

/// Longest header that is parsed, in bytes: the format's own limit (`MAX_HEADER_SIZE` in
/// huggingface/safetensors `safetensors/src/tensor.rs`).
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The key of a header that holds text instead of a tensor.
pub(crate) const METADATA_KEY: &str = "__metadata__";

/// A checked safetensors header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsHeader {
    /// Free text by key; empty if the file has none.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, in the order of their data.
    pub tensors: Vec<TensorEntry>,
}

/// Reads and checks the header of a whole safetensors file.
///
/// `path` is used in messages only. The tensors cover the data section exactly and in order.
///
/// # Errors
///
/// A [`TensorError`] that names the file, and the tensor where there is one, for every header that
/// is not well-formed, too long, truncated, inconsistent or of an element type not stored here.
pub fn parse_safetensors(bytes: &[u8], path: &Path) -> Result<SafetensorsHeader, TensorError> {
    let header = header_text(bytes, path)?;
    let data_start = 8 + header.len();
    let raw: RawHeader = serde_json::from_str(header).map_err(|source| TensorError::Json {
        path: path.to_owned(),
        what: "the safetensors header",
        source,
    })?;
    check_tensors(raw.tensors, (bytes.len() - data_start) as u64, path)?;

    let refused = |source| TensorError::SafetensorsHeader { path: path.to_owned(), source };
    let (_, parsed) = SafeTensors::read_metadata(bytes).map_err(refused)?;
    let mut tensors = Vec::new();
    for (name, info) in parsed.tensors() {
        let dtype = DType::from_safetensors(info.dtype)
            .ok_or_else(|| unsupported(path, &name, info.dtype.to_string()))?;
        let (start, end) = info.data_offsets;
        let range = data_start + start..data_start + end;
        tensors.push(TensorEntry { name, dtype, shape: info.shape.clone(), range });
    }
    tensors.sort_by(|a, b| (a.range.start, &a.name).cmp(&(b.range.start, &b.name)));
    let metadata = parsed.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(SafetensorsHeader { metadata, tensors })
}

/// The JSON text after the eight bytes of its length.
fn header_text<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, TensorError> {
    let truncated = |what, offset, needed| TensorError::Truncated {
        path: path.to_owned(),
        what,
        offset,
        needed,
        available: bytes.len() - offset,
    };
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(truncated("the safetensors header length", 0, 8));
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(TensorError::Limit {
            path: path.to_owned(),
            what: "the safetensors header length",
            found: length,
            limit: MAX_HEADER_BYTES,
        });
    }
    let header = usize::try_from(length).ok().and_then(|length| rest.get(..length));
    let header = header.ok_or_else(|| truncated("the safetensors header", 8, length))?;
    std::str::from_utf8(header).map_err(|source| TensorError::Utf8 {
        path: path.to_owned(),
        what: "the safetensors header",
        source,
    })
}

/// Demands known types, distinct names, and data that follow each other without overlap or hole up
/// to the end of the file.
fn check_tensors(
    mut tensors: Vec<(String, RawTensor)>,
    data_len: u64,
    path: &Path,
) -> Result<(), TensorError> {
    tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
    if let Some(pair) = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let tensor = pair[0].0.clone();
        return Err(TensorError::DuplicateTensor { path: path.to_owned(), tensor });
    }
    tensors.sort_by_key(|(_, raw)| raw.data_offsets);
    let mut end = 0;
    for (name, raw) in &tensors {
        let size = byte_size(name, raw, path)?;
        let (path, tensor) = (path.to_owned(), name.clone());
        let (start, stop) = raw.data_offsets;
        if start != end {
            return Err(TensorError::TensorOffset { path, tensor, expected: end, found: start });
        }
        if stop.checked_sub(start) != Some(size) {
            let found = stop.saturating_sub(start);
            return Err(TensorError::TensorBytes { path, tensor, expected: size, found });
        }
        if stop > data_len {
            let (end, available) = (stop, data_len);
            return Err(TensorError::TensorRange { path, tensor, end, available });
        }
        end = stop;
    }
    if end == data_len {
        return Ok(());
    }
    Err(TensorError::DataLength { path: path.to_owned(), expected: end, found: data_len })
}

fn byte_size(name: &str, raw: &RawTensor, path: &Path) -> Result<u64, TensorError> {
    let dtype = DType::from_safetensors_name(&raw.dtype)
        .ok_or_else(|| unsupported(path, name, raw.dtype.clone()))?;
    let n_elements = raw.shape.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
    n_elements.and_then(|n| n.checked_mul(dtype.block_bytes() as u64)).ok_or_else(|| {
        TensorError::InvalidSize {
            path: path.to_owned(),
            tensor: name.to_owned(),
            shape: raw.shape.clone(),
            dtype,
        }
    })
}

fn unsupported(path: &Path, name: &str, found: String) -> TensorError {
    TensorError::UnsupportedDType { path: path.to_owned(), tensor: name.to_owned(), found }
}

/// One entry of the header as it is written, before any check.
#[derive(Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header with its tensors in file order, repeated names kept.
struct RawHeader {
    tensors: Vec<(String, RawTensor)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RawHeaderVisitor)
    }
}

struct RawHeaderVisitor;

impl<'de> Visitor<'de> for RawHeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut tensors = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA_KEY {
                map.next_value::<serde::de::IgnoredAny>()?;
            } else {
                tensors.push((name, map.next_value()?));
            }
        }
        Ok(RawHeader { tensors })
    }
}
