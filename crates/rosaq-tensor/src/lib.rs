#![doc = include_str!("../README.md")]

mod dequant;
mod dtype;
mod error;
mod f16;
mod gguf;
mod mat;
mod mmap;
mod safetensors;
mod shards;
mod store;
mod tensor;
mod writer;

pub use crate::safetensors::{SafetensorsHeader, parse_safetensors};
pub use dtype::DType;
pub use error::TensorError;
pub use f16::f32_to_f16_bytes;
pub use gguf::{GgufHeader, GgufMetadata, MetadataArray, MetadataValue, parse_gguf};
pub use mat::Matrix;
pub use mmap::MappedFile;
pub use store::TensorStore;
pub use tensor::{TensorEntry, TensorView};
pub use writer::{TensorData, write_safetensors};
