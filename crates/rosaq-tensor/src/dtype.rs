//! Element types, plain and block-quantized, and how many bytes they take.

use std::fmt;

use safetensors::Dtype as SafeDtype;

/// How the elements of a tensor are stored.
///
/// `Q*` are the block formats of GGUF; the rest are plain little-endian numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 binary64.
    F64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16.
    BF16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
    /// 32 elements: f16 scale, 4-bit codes around 8.
    Q4_0,
    /// 32 elements: f16 scale, f16 minimum, 4-bit codes.
    Q4_1,
    /// 32 elements: f16 scale, 5-bit codes around 16.
    Q5_0,
    /// 32 elements: f16 scale, f16 minimum, 5-bit codes.
    Q5_1,
    /// 32 elements: f16 scale, signed 8-bit codes.
    Q8_0,
    /// 256 elements in 8 groups: two f16 super-scales, 6-bit scales and minima, 4-bit codes.
    Q4K,
    /// 256 elements in 8 groups: two f16 super-scales, 6-bit scales and minima, 5-bit codes.
    Q5K,
    /// 256 elements in 16 groups: f16 super-scale, 8-bit scales, 6-bit codes around 32.
    Q6K,
}

impl DType {
    /// The name that files use: `F16`, `Q4_1`, `Q6_K`, ...
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::I64 => "I64",
            Self::I32 => "I32",
            Self::I16 => "I16",
            Self::I8 => "I8",
            Self::U64 => "U64",
            Self::U32 => "U32",
            Self::U16 => "U16",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Elements that are stored together; 1 for plain numbers.
    #[must_use]
    pub fn block_elements(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
            _ => 1,
        }
    }

    /// Bytes of one block of [`DType::block_elements`] elements.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 8,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            Self::Q4K => 2 + 2 + 12 + 128,
            Self::Q5K => 2 + 2 + 12 + 32 + 128,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }

    /// Bytes of `n_elements` elements; `None` if they are not whole blocks or the size overflows.
    #[must_use]
    pub fn storage_bytes(self, n_elements: usize) -> Option<usize> {
        if !n_elements.is_multiple_of(self.block_elements()) {
            return None;
        }
        (n_elements / self.block_elements()).checked_mul(self.block_bytes())
    }

    /// Whether the elements are real numbers, which [`crate::TensorView::to_f32`] can give.
    #[must_use]
    pub fn is_real(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16) || self.block_elements() > 1
    }

    /// The type of that name in a safetensors header; `None` for those this crate does not store.
    #[must_use]
    pub fn from_safetensors_name(name: &str) -> Option<Self> {
        const STORED: [DType; 13] = [
            DType::F64,
            DType::F32,
            DType::F16,
            DType::BF16,
            DType::I64,
            DType::I32,
            DType::I16,
            DType::I8,
            DType::U64,
            DType::U32,
            DType::U16,
            DType::U8,
            DType::Bool,
        ];
        STORED.into_iter().find(|dtype| dtype.name() == name)
    }

    pub(crate) fn from_safetensors(dtype: SafeDtype) -> Option<Self> {
        Self::from_safetensors_name(&dtype.to_string())
    }

    /// The type with that number in a GGUF file (`enum ggml_type` in ggml-org/llama.cpp
    /// `ggml/include/ggml.h`); `None` for the formats this crate does not read.
    #[must_use]
    pub fn from_ggml(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            24 => Self::I8,
            25 => Self::I16,
            26 => Self::I32,
            27 => Self::I64,
            28 => Self::F64,
            30 => Self::BF16,
            _ => return None,
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_counts_whole_blocks_only() {
        assert_eq!(DType::F16.storage_bytes(3), Some(6));
        assert_eq!(DType::Q4_1.storage_bytes(64), Some(40));
        assert_eq!(DType::Q4_1.storage_bytes(63), None);
        assert_eq!(DType::Q6K.storage_bytes(256), Some(210));
        assert_eq!(DType::F64.storage_bytes(usize::MAX), None);
        assert_eq!(DType::Q4K.storage_bytes(0), Some(0));
    }

    #[test]
    fn names_match_the_safetensors_crate() {
        for dtype in [SafeDtype::BF16, SafeDtype::BOOL, SafeDtype::U8, SafeDtype::I64] {
            assert_eq!(DType::from_safetensors(dtype).map(DType::name), Some(&*dtype.to_string()));
        }
        assert_eq!(DType::from_safetensors(SafeDtype::F8_E4M3), None);
        assert_eq!(DType::from_safetensors_name("Q4_1"), None);
    }
}
