#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod chunks;
mod continuations;
mod divergence;
mod error;
mod language_model;
mod perplexity;
mod score;
mod softmax;
mod token_tree;

pub use continuations::{Request, ScoreOptions, log_likelihoods};
pub use divergence::perplexity_and_kl;
pub use error::EvalError;
pub use language_model::{LanguageModel, hidden_by_paths};
pub use perplexity::{perplexity, score_hidden};
pub use score::{Score, mean_and_stderr};
pub use token_tree::{Sharing, TokenTree};
