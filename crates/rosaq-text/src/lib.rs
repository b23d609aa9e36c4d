#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod dataset;
mod error;
mod gguf_vocabulary;
mod tokenizer;
mod windows;

pub use dataset::{TextForm, calibration_windows, perplexity_text};
pub use error::TextError;
pub use gguf_vocabulary::GgufVocabulary;
pub use tokenizer::{AddSpecial, Tokenizer};
pub use windows::TokenWindows;
