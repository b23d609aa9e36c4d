//! Headers of GGUF files, versions 2 and 3, little-endian.
//!
//! After `docs/gguf.md` in ggml-org/ggml: magic, version, counts, metadata by key, a record per
//! tensor, and the data section at the next multiple of the alignment. Every length is compared
//! with what is left of the file before anything is allocated for it.

mod cursor;
mod metadata;
mod value;

use std::collections::BTreeSet;
use std::path::Path;

use crate::dtype::DType;
use crate::error::TensorError;
use crate::tensor::TensorEntry;
use cursor::Cursor;
pub use metadata::GgufMetadata;
pub use value::{MetadataArray, MetadataValue};

/// Most tensors of a file; published models have thousands.
const MAX_TENSORS: u64 = 1 << 20;
/// Most metadata keys of a file; published models have dozens.
const MAX_KEYS: u64 = 1 << 16;
/// Longest tensor name in bytes; ggml itself stops at 64 (`GGML_MAX_NAME`).
const MAX_NAME_BYTES: u64 = 4096;
/// Most dimensions of a tensor (`GGML_MAX_DIMS`).
const MAX_DIMS: u64 = 4;
/// Alignment of a file that does not say (`GGUF_DEFAULT_ALIGNMENT`).
const DEFAULT_ALIGNMENT: usize = 32;
/// Largest alignment accepted, a huge page.
const MAX_ALIGNMENT: u32 = 1 << 21;
/// Shortest tensor record: empty name, no dimension, type, offset.
const MIN_RECORD_BYTES: usize = 8 + 4 + 4 + 8;
/// Shortest metadata entry: empty key, type, one byte.
const MIN_ENTRY_BYTES: usize = 8 + 4 + 1;

/// A checked GGUF header.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufHeader {
    /// Values by key.
    pub metadata: GgufMetadata,
    /// The tensors, in the order of their data, with dimensions reversed to row-major.
    pub tensors: Vec<TensorEntry>,
}

/// Reads and checks the header of a whole GGUF file.
///
/// `path` is used in messages only. GGUF lists the fastest dimension first; shapes here are
/// row-major, so a linear is `[out, in]`. Names stay GGUF's.
///
/// # Errors
///
/// A [`TensorError`] that names the file, and the tensor or key where there is one, for every header
/// that is not well-formed, truncated, inconsistent, one part of several, or of an element type not
/// read here; tensor data that overlap, leave holes beyond the alignment or lie outside the file.
pub fn parse_gguf(bytes: &[u8], path: &Path) -> Result<GgufHeader, TensorError> {
    let mut cursor = Cursor::new(bytes, path);
    let magic = cursor.array("the GGUF magic")?;
    if &magic != b"GGUF" {
        return Err(TensorError::GgufMagic { path: path.to_owned(), found: magic });
    }
    let version = cursor.u32("the GGUF version")?;
    if !matches!(version, 2 | 3) {
        return Err(TensorError::GgufVersion { path: path.to_owned(), found: version });
    }
    let n_tensors = cursor.count("the number of tensors", MIN_RECORD_BYTES, MAX_TENSORS)?;
    let n_keys = cursor.count("the number of metadata keys", MIN_ENTRY_BYTES, MAX_KEYS)?;
    let metadata = GgufMetadata::parse(&mut cursor, n_keys)?;
    if let Some(n_parts) = metadata.unsigned("split.count").filter(|&n| n > 1) {
        return Err(TensorError::GgufSplit { path: path.to_owned(), n_parts });
    }
    let records = (0..n_tensors).map(|_| Record::parse(&mut cursor)).collect::<Result<_, _>>()?;
    let alignment = alignment(&metadata, path)?;
    // A file without tensors may end before the padding.
    let data_start = cursor.position().next_multiple_of(alignment).min(bytes.len());
    let layout = Layout { path, alignment, data_start, file_len: bytes.len() };
    Ok(GgufHeader { metadata, tensors: layout.place(records)? })
}

/// `general.alignment`: a power of two.
fn alignment(metadata: &GgufMetadata, path: &Path) -> Result<usize, TensorError> {
    const KEY: &str = "general.alignment";
    if !metadata.contains(KEY) {
        return Ok(DEFAULT_ALIGNMENT);
    }
    let alignment = metadata.get_u32(KEY)?;
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        return Ok(alignment as usize);
    }
    Err(TensorError::KeyType {
        path: path.to_owned(),
        key: KEY.to_owned(),
        expected: "a power of two up to 2097152",
        found: alignment.to_string(),
    })
}

/// What a file says about one tensor.
struct Record {
    name: String,
    /// Row-major.
    shape: Vec<u64>,
    dtype: DType,
    /// Offset in the data section.
    offset: u64,
}

impl Record {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, TensorError> {
        let name = cursor.string("a tensor name", MAX_NAME_BYTES)?;
        let n_dims = u64::from(cursor.u32("a number of dimensions")?);
        cursor.check_limit("a number of dimensions", n_dims, MAX_DIMS)?;
        let shape = (0..n_dims).map(|_| cursor.u64("a dimension"));
        let mut shape = shape.collect::<Result<Vec<u64>, _>>()?;
        shape.reverse();
        let number = cursor.u32("a tensor type")?;
        let dtype = DType::from_ggml(number).ok_or_else(|| TensorError::UnsupportedDType {
            path: cursor.path().to_owned(),
            tensor: name.clone(),
            found: ggml_name(number),
        })?;
        let offset = cursor.u64("a tensor offset")?;
        Ok(Self { name, shape, dtype, offset })
    }

    /// Shape and size in bytes; rows must be whole blocks.
    fn size(&self, path: &Path) -> Result<(Vec<usize>, usize), TensorError> {
        let shape: Option<Vec<usize>> =
            self.shape.iter().map(|&d| usize::try_from(d).ok()).collect();
        let whole_rows = |shape: &Vec<usize>| {
            shape.last().is_none_or(|&n| n.is_multiple_of(self.dtype.block_elements()))
        };
        shape
            .filter(whole_rows)
            .and_then(|shape| {
                let n_elements = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
                let size = self.dtype.storage_bytes(n_elements)?;
                Some((shape, size))
            })
            .ok_or_else(|| TensorError::InvalidSize {
                path: path.to_owned(),
                tensor: self.name.clone(),
                shape: self.shape.clone(),
                dtype: self.dtype,
            })
    }
}

/// Where the data section lies.
struct Layout<'a> {
    path: &'a Path,
    alignment: usize,
    data_start: usize,
    file_len: usize,
}

impl Layout<'_> {
    /// Gives every record its bytes: each begins at the first multiple of the alignment after the
    /// one before it, and less than one alignment is left at the end of the file.
    fn place(&self, mut records: Vec<Record>) -> Result<Vec<TensorEntry>, TensorError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = records.iter().find(|record| !names.insert(&*record.name)) {
            let (path, tensor) = (self.path.to_owned(), twice.name.clone());
            return Err(TensorError::DuplicateTensor { path, tensor });
        }
        // Tensors without elements share an offset with the next one: file order decides.
        records.sort_by_key(|record| record.offset);
        let available = self.file_len - self.data_start;
        let mut end = 0;
        let mut tensors = Vec::with_capacity(records.len());
        for record in records {
            let (shape, size) = record.size(self.path)?;
            let expected = end_of_padding(end, self.alignment);
            if record.offset != expected as u64 {
                let (path, tensor) = (self.path.to_owned(), record.name);
                let (expected, found) = (expected as u64, record.offset);
                return Err(TensorError::TensorOffset { path, tensor, expected, found });
            }
            end = expected.saturating_add(size);
            if end > available {
                let (path, tensor) = (self.path.to_owned(), record.name);
                let (end, available) = (end as u64, available as u64);
                return Err(TensorError::TensorRange { path, tensor, end, available });
            }
            let range = self.data_start + expected..self.data_start + end;
            tensors.push(TensorEntry { name: record.name, dtype: record.dtype, shape, range });
        }
        if available > end_of_padding(end, self.alignment) {
            let path = self.path.to_owned();
            let (expected, found) = (end as u64, available as u64);
            return Err(TensorError::DataLength { path, expected, found });
        }
        Ok(tensors)
    }
}

/// The next multiple of `alignment`, or the largest offset, which no file reaches.
fn end_of_padding(end: usize, alignment: usize) -> usize {
    end.checked_next_multiple_of(alignment).unwrap_or(usize::MAX)
}

/// Name of an element type that is not read, for the message.
fn ggml_name(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("number {number}"),
    };
    name.to_owned()
}
