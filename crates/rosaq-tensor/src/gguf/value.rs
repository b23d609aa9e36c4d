//! One value in the metadata of a GGUF file.

use super::cursor::Cursor;
use crate::error::TensorError;

/// Longest text in bytes; chat templates have thousands.
const MAX_TEXT_BYTES: u64 = 1 << 26;
/// Most elements of an array; vocabularies have hundreds of thousands.
const MAX_ELEMENTS: u64 = 1 << 28;
/// How deep arrays of arrays may go; published models have none.
const MAX_DEPTH: u64 = 4;
/// What a type number is called in messages.
pub(super) const VALUE_TYPE: &str = "a metadata value type";
/// What a value is called in messages.
const VALUE: &str = "a metadata value";

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are the types of the format")]
pub enum MetadataValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(MetadataArray),
}

/// A metadata array: all elements have one type.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are the types of the format")]
pub enum MetadataArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Self>),
}

impl MetadataValue {
    /// Any integer, without loss.
    pub(super) fn as_integer(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(n) => n.into(),
            Self::I8(n) => n.into(),
            Self::U16(n) => n.into(),
            Self::I16(n) => n.into(),
            Self::U32(n) => n.into(),
            Self::I32(n) => n.into(),
            Self::U64(n) => n.into(),
            Self::I64(n) => n.into(),
            _ => return None,
        })
    }

    /// Type and value, without the contents of texts and arrays.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::String(text) => format!("a string of {} bytes", text.len()),
            Self::Array(_) => "an array of another type, or of values that do not fit".to_owned(),
            other => format!("{other:?}"),
        }
    }

    /// A value of type number `kind` (`enum gguf_metadata_value_type` in `docs/gguf.md`).
    pub(super) fn parse(cursor: &mut Cursor<'_>, kind: u32) -> Result<Self, TensorError> {
        Ok(match kind {
            0 => Self::U8(u8::from_le_bytes(cursor.array(VALUE)?)),
            1 => Self::I8(i8::from_le_bytes(cursor.array(VALUE)?)),
            2 => Self::U16(u16::from_le_bytes(cursor.array(VALUE)?)),
            3 => Self::I16(i16::from_le_bytes(cursor.array(VALUE)?)),
            4 => Self::U32(u32::from_le_bytes(cursor.array(VALUE)?)),
            5 => Self::I32(i32::from_le_bytes(cursor.array(VALUE)?)),
            6 => Self::F32(f32::from_le_bytes(cursor.array(VALUE)?)),
            7 => match cursor.array(VALUE)? {
                [byte @ (0 | 1)] => Self::Bool(byte == 1),
                [byte] => return Err(cursor.invalid("a bool", 1, byte.into())),
            },
            8 => Self::String(cursor.string(VALUE, MAX_TEXT_BYTES)?),
            9 => Self::Array(MetadataArray::parse(cursor, 1)?),
            10 => Self::U64(u64::from_le_bytes(cursor.array(VALUE)?)),
            11 => Self::I64(i64::from_le_bytes(cursor.array(VALUE)?)),
            12 => Self::F64(f64::from_le_bytes(cursor.array(VALUE)?)),
            _ => return Err(cursor.invalid(VALUE_TYPE, 4, kind.into())),
        })
    }
}

impl MetadataArray {
    fn parse(cursor: &mut Cursor<'_>, depth: u64) -> Result<Self, TensorError> {
        const LENGTH: &str = "the length of a metadata array";
        cursor.check_limit("the depth of a metadata array", depth, MAX_DEPTH)?;
        let kind = cursor.u32(VALUE_TYPE)?;
        let n = match kind {
            8 => cursor.count(LENGTH, 8, MAX_ELEMENTS)?,
            9 => cursor.count(LENGTH, 12, MAX_ELEMENTS)?,
            _ => cursor.count(LENGTH, 1, MAX_ELEMENTS)?,
        };
        Ok(match kind {
            0 => Self::U8(numbers(cursor, n, u8::from_le_bytes)?),
            1 => Self::I8(numbers(cursor, n, i8::from_le_bytes)?),
            2 => Self::U16(numbers(cursor, n, u16::from_le_bytes)?),
            3 => Self::I16(numbers(cursor, n, i16::from_le_bytes)?),
            4 => Self::U32(numbers(cursor, n, u32::from_le_bytes)?),
            5 => Self::I32(numbers(cursor, n, i32::from_le_bytes)?),
            6 => Self::F32(numbers(cursor, n, f32::from_le_bytes)?),
            7 => Self::Bool(bools(cursor, n)?),
            8 => Self::String(
                (0..n).map(|_| cursor.string(VALUE, MAX_TEXT_BYTES)).collect::<Result<_, _>>()?,
            ),
            9 => Self::Array(
                (0..n).map(|_| Self::parse(cursor, depth + 1)).collect::<Result<_, _>>()?,
            ),
            10 => Self::U64(numbers(cursor, n, u64::from_le_bytes)?),
            11 => Self::I64(numbers(cursor, n, i64::from_le_bytes)?),
            12 => Self::F64(numbers(cursor, n, f64::from_le_bytes)?),
            _ => return Err(cursor.invalid(VALUE_TYPE, 12, kind.into())),
        })
    }

    /// All elements, if they are integers that fit.
    pub(super) fn to_i32(&self) -> Option<Vec<i32>> {
        fn convert<T: Copy + TryInto<i32>>(numbers: &[T]) -> Option<Vec<i32>> {
            numbers.iter().map(|&n| n.try_into().ok()).collect()
        }
        match self {
            Self::U8(numbers) => convert(numbers),
            Self::I8(numbers) => convert(numbers),
            Self::U16(numbers) => convert(numbers),
            Self::I16(numbers) => convert(numbers),
            Self::U32(numbers) => convert(numbers),
            Self::I32(numbers) => convert(numbers),
            Self::U64(numbers) => convert(numbers),
            Self::I64(numbers) => convert(numbers),
            _ => None,
        }
    }
}

/// `n` numbers of `N` bytes. The bytes are taken first, so that nothing is allocated in vain.
fn numbers<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    n: usize,
    convert: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, TensorError> {
    let bytes = cursor.take("a metadata array", n.saturating_mul(N))?;
    Ok(bytes.as_chunks().0.iter().map(|&chunk| convert(chunk)).collect())
}

/// `n` bools, one byte each, 0 or 1.
fn bools(cursor: &mut Cursor<'_>, n: usize) -> Result<Vec<bool>, TensorError> {
    let bytes = cursor.take("a metadata array", n)?;
    match bytes.iter().find(|&&byte| byte > 1) {
        Some(&byte) => Err(cursor.invalid("an array of bools", n, byte.into())),
        None => Ok(bytes.iter().map(|&byte| byte == 1).collect()),
    }
}
