//! Questions to tokens.

use rayon::prelude::*;
use rosaq_text::{AddSpecial, TextError, Tokenizer};

use crate::filters::is_space;
use crate::{Part, TaskError};

/// The tokens of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRequest {
    /// Tokens that are not scored.
    pub context: Vec<u32>,
    /// Tokens that are.
    pub continuation: Vec<u32>,
}

/// The tokens of each request of each question of `part`.
///
/// Context and continuation are encoded as one text, with the special tokens that the tokenizer adds by default; what is behind
/// the tokens of the context alone is scored. Whitespace at the end of a context belongs to the continuation. An empty
/// context is the BOS token, or EOS where there is no BOS.
///
/// Source: lm-evaluation-harness 0.4.13, `lm_eval/api/model.py`, `_encode_pair`.
///
/// # Errors
/// [`TaskError::Encode`] and [`TaskError::NothingToScore`]; [`TaskError::LongChoice`] where a choice alone has more than
/// `max_length` tokens.
pub fn encode(
    part: &Part,
    tokenizer: &Tokenizer,
    max_length: usize,
) -> Result<Vec<Vec<EncodedRequest>>, TaskError> {
    let one = |question: &crate::Question| {
        let (path, row) = (&part.file, question.row + 1);
        let requests = question.requests.iter().enumerate().map(|(choice, (context, text))| {
            let request = encode_request(tokenizer, context, text)
                .map_err(|source| TaskError::Encode { path: path.clone(), row, source })?;
            if request.continuation.is_empty() || request.context.is_empty() {
                return Err(TaskError::NothingToScore {
                    path: path.clone(),
                    row,
                    choice: choice + 1,
                });
            }
            let found = request.continuation.len();
            if found > max_length {
                let (path, choice) = (path.clone(), choice + 1);
                return Err(TaskError::LongChoice { path, row, choice, found, max_length });
            }
            Ok(request)
        });
        requests.collect()
    };
    // Collected first, so that of several errors it is always that of the first row.
    let encoded: Vec<_> = part.questions.par_iter().map(one).collect();
    encoded.into_iter().collect()
}

fn encode_request(
    tokenizer: &Tokenizer,
    context: &str,
    continuation: &str,
) -> Result<EncodedRequest, TextError> {
    if context.is_empty() {
        let context = tokenizer.bos().or(tokenizer.eos()).into_iter().collect();
        let continuation = tokenizer.encode(continuation, AddSpecial::No)?;
        return Ok(EncodedRequest { context, continuation });
    }
    let bare = context.trim_end_matches(is_space);
    let mut whole = tokenizer.encode(&format!("{context}{continuation}"), AddSpecial::Yes)?;
    let n_context = tokenizer.encode(bare, AddSpecial::Yes)?.len();
    let continuation = whole.split_off(n_context.min(whole.len()));
    Ok(EncodedRequest { context: whole, continuation })
}
