//! The metadata of a GGUF file: typed values by key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cursor::Cursor;
use super::value::{MetadataArray, MetadataValue, VALUE_TYPE};
use crate::error::TensorError;

/// Longest key in bytes (`docs/gguf.md` in ggml-org/ggml: 2^16 - 1).
const MAX_KEY_BYTES: u64 = u16::MAX as u64;

/// The metadata of a GGUF file.
///
/// The typed getters fail for a missing key: ask [`GgufMetadata::contains`] first where a key is
/// optional. Integers convert between widths as long as the value fits.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufMetadata {
    path: PathBuf,
    values: BTreeMap<String, MetadataValue>,
}

impl GgufMetadata {
    /// The file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// The value of a key as it is stored.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.values.get(key)
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] for any other type.
    pub fn get_str(&self, key: &str) -> Result<&str, TensorError> {
        match self.require(key)? {
            MetadataValue::String(text) => Ok(text),
            other => Err(self.key_type(key, "a string", other)),
        }
    }

    /// An integer of any width that fits u32.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] if it is none or does not fit.
    pub fn get_u32(&self, key: &str) -> Result<u32, TensorError> {
        let value = self.require(key)?;
        let integer = value.as_integer().and_then(|n| u32::try_from(n).ok());
        integer.ok_or_else(|| self.key_type(key, "an unsigned 32-bit integer", value))
    }

    /// An integer of any width that fits u64.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] if it is none or is negative.
    pub fn get_u64(&self, key: &str) -> Result<u64, TensorError> {
        let value = self.require(key)?;
        let integer = value.as_integer().and_then(|n| u64::try_from(n).ok());
        integer.ok_or_else(|| self.key_type(key, "an unsigned 64-bit integer", value))
    }

    /// A real number, as f32 (f64 rounds).
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] if it is none or not finite.
    #[expect(clippy::cast_possible_truncation, reason = "rounding f64 to f32 is documented")]
    pub fn get_f32(&self, key: &str) -> Result<f32, TensorError> {
        let value = self.require(key)?;
        let number = match value {
            MetadataValue::F32(number) => Some(*number),
            MetadataValue::F64(number) => Some(*number as f32),
            _ => None,
        };
        let finite = number.filter(|number| number.is_finite());
        finite.ok_or_else(|| self.key_type(key, "a finite floating-point number", value))
    }

    /// A truth value.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] for any other type.
    pub fn get_bool(&self, key: &str) -> Result<bool, TensorError> {
        match self.require(key)? {
            MetadataValue::Bool(truth) => Ok(*truth),
            other => Err(self.key_type(key, "a bool", other)),
        }
    }

    /// An array of texts.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] for any other type.
    pub fn get_array_str(&self, key: &str) -> Result<&[String], TensorError> {
        match self.require(key)? {
            MetadataValue::Array(MetadataArray::String(texts)) => Ok(texts),
            other => Err(self.key_type(key, "an array of strings", other)),
        }
    }

    /// An array of integers of any width that all fit i32.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] if it is none or one does not fit.
    pub fn get_array_i32(&self, key: &str) -> Result<Vec<i32>, TensorError> {
        let value = self.require(key)?;
        let integers = match value {
            MetadataValue::Array(array) => array.to_i32(),
            _ => None,
        };
        integers.ok_or_else(|| self.key_type(key, "an array of signed 32-bit integers", value))
    }

    /// An array of real numbers, as f32 (f64 rounds).
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingKey`], or [`TensorError::KeyType`] for any other type.
    #[expect(clippy::cast_possible_truncation, reason = "rounding f64 to f32 is documented")]
    pub fn get_array_f32(&self, key: &str) -> Result<Vec<f32>, TensorError> {
        match self.require(key)? {
            MetadataValue::Array(MetadataArray::F32(numbers)) => Ok(numbers.clone()),
            MetadataValue::Array(MetadataArray::F64(numbers)) => {
                Ok(numbers.iter().map(|&number| number as f32).collect())
            }
            other => Err(self.key_type(key, "an array of floating-point numbers", other)),
        }
    }

    pub(super) fn parse(cursor: &mut Cursor<'_>, n_keys: usize) -> Result<Self, TensorError> {
        let path = cursor.path().to_owned();
        let mut values = BTreeMap::new();
        for _ in 0..n_keys {
            let key = cursor.string("a metadata key", MAX_KEY_BYTES)?;
            let kind = cursor.u32(VALUE_TYPE)?;
            let value = MetadataValue::parse(cursor, kind)?;
            if values.contains_key(&key) {
                return Err(TensorError::DuplicateKey { path, key });
            }
            values.insert(key, value);
        }
        Ok(Self { path, values })
    }

    /// An optional count; `None` where the key is missing or no integer.
    pub(super) fn unsigned(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_integer().and_then(|n| u64::try_from(n).ok())
    }

    fn require(&self, key: &str) -> Result<&MetadataValue, TensorError> {
        self.get(key)
            .ok_or_else(|| TensorError::MissingKey { path: self.path.clone(), key: key.to_owned() })
    }

    fn key_type(&self, key: &str, expected: &'static str, value: &MetadataValue) -> TensorError {
        let found = value.describe();
        TensorError::KeyType { path: self.path.clone(), key: key.to_owned(), expected, found }
    }
}
