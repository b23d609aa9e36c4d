#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chunks;
mod divergence;
mod error;
mod language_model;
mod perplexity;
mod score;
mod softmax;

pub use divergence::perplexity_and_kl;
pub use error::EvalError;
pub use language_model::LanguageModel;
pub use perplexity::{perplexity, score_hidden};
pub use score::Score;
