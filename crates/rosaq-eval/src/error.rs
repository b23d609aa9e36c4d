//! What can go wrong while a model is measured.

use std::error::Error;

/// Why a model could not be measured; `E` is the model's own error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError<E: Error + 'static> {
    /// The model failed.
    #[error(transparent)]
    Model {
        /// The model's reason.
        source: E,
    },
    /// No window has two tokens, so nothing is predicted.
    #[error(
        "nothing to score: expected a window of at least 2 tokens, found {n_windows} windows \
         without one; give a longer text or a shorter context"
    )]
    NothingToScore {
        /// Number of windows.
        n_windows: usize,
    },
    /// A token is not in the model's vocabulary.
    #[error(
        "window {window}, token {position}: expected an id below the vocabulary size \
         {vocab_size}, found {token}; the text was encoded with another model's tokenizer"
    )]
    UnknownToken {
        /// Index of the window.
        window: usize,
        /// Position in the window.
        position: usize,
        /// The token id.
        token: u32,
        /// The model's vocabulary size.
        vocab_size: usize,
    },
    /// Two models cannot be compared, since their vocabularies differ in size.
    #[error(
        "KL divergence: expected the reference's vocabulary of {reference} tokens, found {model}"
    )]
    VocabularyMismatch {
        /// Vocabulary size of the reference.
        reference: usize,
        /// Vocabulary size of the model.
        model: usize,
    },
    /// A model gave NaN or infinite logits.
    #[error(
        "window {window}, token {position}: expected finite logits, found NaN or infinity; the \
         model's weights or activations overflowed"
    )]
    NonFiniteLogits {
        /// Index of the window.
        window: usize,
        /// Position in the window of the token that the logits follow.
        position: usize,
    },
    /// A request has no context or nothing to score.
    #[error("request {request}: expected at least one token of context and one to score")]
    EmptyRequest {
        /// Index of the request.
        request: usize,
    },
    /// A continuation alone is longer than what the model takes.
    #[error(
        "request {request}: expected a continuation of at most {max_length} tokens, found {found}; \
         give a longer context if the model has one"
    )]
    LongContinuation {
        /// Index of the request.
        request: usize,
        /// Tokens of the continuation.
        found: usize,
        /// Tokens that the model takes.
        max_length: usize,
    },
}
