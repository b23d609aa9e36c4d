//! The loop from a prompt to a text.

use std::time::{Duration, Instant};

use rosaq_runtime::Backend;
use rosaq_text::Tokenizer;

use crate::stop::Stops;
use crate::stream::Stream;
use crate::{GenerateError, Sampler};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Tokens to go on from.
    pub prompt: &'a [u32],
    /// Tokens to come at most.
    pub max_tokens: usize,
    /// Strings that end the text and are no part of it.
    pub stop: &'a [String],
    /// Go on when the model ends its text.
    pub ignore_end: bool,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The model ended it.
    End,
    /// One of the strings to stop at came.
    Stop,
    /// As many tokens as were asked for.
    Length,
    /// The model's context is full.
    Context,
}

impl EndReason {
    /// One word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Context => "context",
        }
    }
}

/// A text and how long it took.
#[derive(Debug, Clone)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// Its tokens, one that ended it included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub reason: EndReason,
    /// From the prompt to the first token.
    pub prompt_time: Duration,
    /// Of each token after the first.
    pub token_times: Vec<Duration>,
}

/// Goes on from a prompt; `emit` gets the text as it comes.
///
/// # Errors
/// A prompt that is empty or leaves no room in the model's context, before anything is computed; failures of the model.
pub fn generate(
    model: &dyn Backend,
    tokenizer: &Tokenizer,
    request: &Request<'_>,
    sampler: &mut Sampler,
    emit: &mut dyn FnMut(&str),
) -> Result<Generated, GenerateError> {
    let (found, context) = (request.prompt.len(), model.config().max_positions);
    if found == 0 {
        return Err(GenerateError::EmptyPrompt);
    }
    if found >= context {
        return Err(GenerateError::PromptTooLong { found, context });
    }
    let (mut stream, mut stops) = (Stream::new(tokenizer), Stops::new(request.stop));
    let mut out = Generated {
        text: String::new(),
        tokens: Vec::new(),
        reason: EndReason::Length,
        prompt_time: Duration::ZERO,
        token_times: Vec::new(),
    };
    let mut show = |text: &mut String, more: &str| {
        if !more.is_empty() {
            text.push_str(more);
            emit(more);
        }
    };
    let mut sequence = model.sequences(1, context.min(found.saturating_add(request.max_tokens)))?;
    let (mut feed, mut stopped) = (request.prompt.to_vec(), false);
    while out.tokens.len() < request.max_tokens {
        if found + out.tokens.len() >= context {
            out.reason = EndReason::Context;
            break;
        }
        let start = Instant::now();
        let token = sampler.draw(&sequence.feed(&[&feed])?.data)?;
        match out.tokens.is_empty() {
            true => out.prompt_time = start.elapsed(),
            false => out.token_times.push(start.elapsed()),
        }
        out.tokens.push(token);
        if Some(token) == tokenizer.eos() && !request.ignore_end {
            out.reason = EndReason::End;
            break;
        }
        let (more, found_stop) = stops.push(&stream.push(token)?);
        show(&mut out.text, &more);
        if found_stop {
            (out.reason, stopped) = (EndReason::Stop, true);
            break;
        }
        feed = vec![token];
    }
    if !stopped {
        let (more, found_stop) = stops.push(&stream.finish()?);
        show(&mut out.text, &more);
        if !found_stop {
            show(&mut out.text, &stops.finish());
        }
    }
    Ok(out)
}
