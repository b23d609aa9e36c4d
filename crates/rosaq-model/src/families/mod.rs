//! The known families, one constant table a file.

mod llama;
mod mistral;
mod names;
mod qwen2;
mod qwen3;

use crate::Family;

/// Every family rosaq reads.
pub const FAMILIES: &[&Family] = &[&llama::LLAMA, &mistral::MISTRAL, &qwen2::QWEN2, &qwen3::QWEN3];
