//! Why no text came.

use rosaq_runtime::RuntimeError;
use rosaq_text::TextError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A prompt without a token.
    #[error("the prompt is empty; give at least one token of text")]
    EmptyPrompt,
    /// A prompt that leaves no room.
    #[error(
        "the prompt has {found} tokens, the context of the model {context}; shorten it to {} at most", context.saturating_sub(1)
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        found: usize,
        /// Positions that the model was made for.
        context: usize,
    },
    /// A measurement of nothing.
    #[error(
        "{batch} sequences of {context} tokens and {generated} more: nothing to measure; give at least one of each"
    )]
    NothingToMeasure {
        /// Sequences.
        batch: usize,
        /// Tokens of each prompt.
        context: usize,
        /// Tokens generated.
        generated: usize,
    },
    /// More tokens than the model was made for.
    #[error(
        "{context} tokens of context and {generated} generated exceed the {found} positions of the model; ask for fewer tokens"
    )]
    TooManyTokens {
        /// Tokens of each prompt.
        context: usize,
        /// Tokens generated.
        generated: usize,
        /// Positions that the model was made for.
        found: usize,
    },
    /// A sampling setting out of range.
    #[error("`{name}` is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// Logits that are no numbers.
    #[error("the model's logits are not finite; is the checkpoint damaged?")]
    NotFinite,
    /// A chat template that cannot be used.
    #[error("the model's chat template fails: {0}")]
    Template(#[from] minijinja::Error),
    /// The model.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] TextError),
}
