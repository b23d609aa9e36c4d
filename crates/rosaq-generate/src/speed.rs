//! How fast sequences are decoded side by side.

use std::time::Instant;

use rosaq_runtime::{Backend, Sequences};

use crate::GenerateError;

/// What is measured: `batch` sequences with a prompt of `context` tokens each, then `generated` tokens of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeedRequest {
    /// Sequences decoded together.
    pub batch: usize,
    /// Tokens of each prompt.
    pub context: usize,
    /// Tokens generated of each sequence.
    pub generated: usize,
}

/// Times of a [`SpeedRequest`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Speed {
    /// Seconds for all prompts together.
    pub prompt_seconds: f64,
    /// Median seconds of a step, which adds a token to each sequence.
    pub median_time_per_token: f64,
}

impl Speed {
    /// Tokens a second of one sequence: the inverse of the median time of a token.
    #[must_use]
    pub fn decode_speed(&self) -> f64 {
        1.0 / self.median_time_per_token.max(f64::MIN_POSITIVE)
    }

    /// Tokens a second of all sequences: the decode speed times the batch.
    #[must_use]
    pub fn throughput(&self, request: SpeedRequest) -> f64 {
        self.decode_speed() * request.batch as f64
    }

    /// Tokens of prompts a second.
    #[must_use]
    pub fn prompt_speed(&self, request: SpeedRequest) -> f64 {
        (request.batch * request.context) as f64 / self.prompt_seconds.max(f64::MIN_POSITIVE)
    }
}

/// Tokens of all sequences that prompts are fed in at once: bounds the memory of activations.
const PROMPT_TOKENS: usize = 4096;

impl SpeedRequest {
    /// Bytes of keys and values, and of the logits and activations of the largest step, near enough to tell what fits.
    #[must_use]
    pub fn bytes(&self, model: &dyn Backend) -> u64 {
        let config = model.config();
        let tokens = self.context.saturating_add(self.generated);
        let step = PROMPT_TOKENS.max(self.batch).min(self.batch.saturating_mul(self.context));
        let wide = 6 * config.hidden_size + 2 * config.intermediate_size;
        let of_step = (step as u64).saturating_mul((wide * size_of::<f32>()) as u64);
        let logits =
            (self.batch as u64).saturating_mul((config.vocab_size * size_of::<f32>()) as u64);
        model.cache_bytes(self.batch, tokens).saturating_add(of_step).saturating_add(logits)
    }

    /// Runs it on arbitrary tokens, of which the most probable next one is taken always (appendix D of the ROSAQ paper, arXiv
    /// 2506.13472). `progress` hears the share done, 0 to 1.
    ///
    /// # Errors
    /// No sequences or tokens, more tokens than the model's context holds, keys and values that do not fit the memory; all of them
    /// before work starts. Failures of the model.
    pub fn run(&self, model: &dyn Backend, progress: &dyn Fn(f64)) -> Result<Speed, GenerateError> {
        let Self { batch, context, generated } = *self;
        let (config, tokens) = (model.config(), context.saturating_add(generated));
        if batch == 0 || context == 0 || generated == 0 {
            return Err(GenerateError::NothingToMeasure { batch, context, generated });
        }
        if tokens > config.max_positions {
            let found = config.max_positions;
            return Err(GenerateError::TooManyTokens { context, generated, found });
        }
        let mut sequences = model.sequences(batch, tokens)?;
        let id = |sequence: usize, position: usize| {
            u32::try_from((sequence * 31 + position * 7919 + 1) % config.vocab_size).unwrap_or(0)
        };
        let start = Instant::now();
        let (mut next, mut done) = (Vec::new(), 0);
        while done < context {
            let end = context.min(done + (PROMPT_TOKENS / batch).max(1));
            let prompts: Vec<Vec<u32>> =
                (0..batch).map(|s| (done..end).map(|p| id(s, p)).collect()).collect();
            next = step(sequences.as_mut(), &prompts)?;
            done = end;
            progress(done as f64 / tokens as f64);
        }
        let prompt_seconds = start.elapsed().as_secs_f64();
        let mut seconds = Vec::with_capacity(generated);
        for at in 0..generated {
            let start = Instant::now();
            next = step(sequences.as_mut(), &next)?;
            seconds.push(start.elapsed().as_secs_f64());
            progress((context + at + 1) as f64 / tokens as f64);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(Speed { prompt_seconds, median_time_per_token: seconds[seconds.len() / 2] })
    }
}

/// Feeds every sequence's tokens; gives the most probable next ones.
fn step(
    sequences: &mut dyn Sequences,
    tokens: &[Vec<u32>],
) -> Result<Vec<Vec<u32>>, GenerateError> {
    let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
    let logits = sequences.feed(&tokens)?;
    let best = |row: &[f32]| {
        let at = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        u32::try_from(at.map_or(0, |(id, _)| id)).unwrap_or(0)
    };
    Ok(logits.data.chunks_exact(logits.cols).map(|row| vec![best(row)]).collect())
}
