//! Sequences that are decoded together on a device.

use rosaq_cuda::{CudaError, TokenPlace};
use rosaq_runtime::{Backend, RuntimeError, Sequences};
use rosaq_tensor::Matrix;

use crate::CudaModel;
use crate::block::LayerCache;
use crate::error::on_device;

/// Sequences of a [`CudaModel`]; sequence `s` owns the rows from `s * room` on.
#[derive(Debug)]
pub(crate) struct OnDevice<'a> {
    model: &'a CudaModel,
    /// One for each layer.
    caches: Vec<LayerCache>,
    /// Tokens of each sequence so far.
    lengths: Vec<usize>,
    /// Tokens that each may have.
    room: usize,
}

impl<'a> OnDevice<'a> {
    pub(crate) fn new(
        model: &'a CudaModel,
        n_sequences: usize,
        room: usize,
    ) -> Result<Self, RuntimeError> {
        let config = model.config();
        let bytes = model.cache_bytes(n_sequences, room);
        let no_room = |error: CudaError| match error {
            CudaError::OutOfMemory { .. } => RuntimeError::NoMemory { bytes },
            error => on_device(error),
        };
        let rows = n_sequences.checked_mul(room).ok_or(RuntimeError::NoMemory { bytes })?;
        if model.free_bytes().is_some_and(|free| bytes > free) {
            return Err(RuntimeError::NoMemory { bytes });
        }
        let cache = |_| LayerCache::new(model.device(), config, rows);
        let caches: Result<Vec<_>, _> = (0..config.n_layers).map(cache).collect();
        let lengths = vec![0; n_sequences];
        Ok(Self { model, caches: caches.map_err(no_room)?, lengths, room })
    }

    /// All tokens with their places, sequence after sequence.
    fn placed(&self, tokens: &[&[u32]]) -> Result<(Vec<u32>, Vec<TokenPlace>), RuntimeError> {
        let mut places = Vec::new();
        for (idx, (new, &seen)) in tokens.iter().zip(&self.lengths).enumerate() {
            assert!(seen + new.len() <= self.room, "a sequence grows beyond {} tokens", self.room);
            for position in seen..seen + new.len() {
                places.push(self.model.place(idx * self.room, position)?);
            }
        }
        Ok((tokens.concat(), places))
    }
}

impl Sequences for OnDevice<'_> {
    fn feed(&mut self, tokens: &[&[u32]]) -> Result<Matrix, RuntimeError> {
        let n = self.lengths.len();
        assert_eq!(tokens.len(), n, "tokens of {n} sequences");
        if tokens.is_empty() || tokens.iter().any(|tokens| tokens.is_empty()) {
            return Err(RuntimeError::NoTokens);
        }
        let model = self.model;
        let (ids, places) = self.placed(tokens)?;
        let mut state = model.state();
        let (vocab, d) = (model.config().vocab_size, model.config().hidden_size);
        let data = if ids.len() == n && n <= model.pass_tokens() {
            model.forward(&mut state, &ids, &places, &mut self.caches)?;
            model.last_logits(&mut state)?
        } else {
            let mut hidden = Vec::with_capacity(ids.len() * d);
            for (ids, places) in
                ids.chunks(model.pass_tokens()).zip(places.chunks(model.pass_tokens()))
            {
                model.forward(&mut state, ids, places, &mut self.caches)?;
                hidden.extend(model.hidden(&state)?);
            }
            drop(state);
            let (mut last, mut end) = (Vec::with_capacity(n * d), 0);
            for tokens in tokens {
                end += tokens.len() * d;
                last.extend_from_slice(&hidden[end - d..end]);
            }
            let mut logits = vec![0.0; n * vocab];
            model.logits_into(&last, &mut logits)?;
            logits
        };
        for (length, new) in self.lengths.iter_mut().zip(tokens) {
            *length += new.len();
        }
        Ok(Matrix { rows: n, cols: vocab, data })
    }
}
