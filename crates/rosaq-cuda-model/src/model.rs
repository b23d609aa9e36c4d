//! A model on a device.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rosaq_cuda::{Angles, CudaDevice, CudaError, DeviceRows, TokenPlace, TokenPlaces};
use rosaq_model::{BlockWeights, ModelConfig, ModelEnds};
use rosaq_pack::PackedLinear;
use rosaq_runtime::{Backend, RopeTable, RuntimeError, Sequences};

use crate::CudaModelError;
use crate::activations::Activations;
use crate::block::{Block, LayerCache, Pass, head_shape};
use crate::ends::Ends;
use crate::error::on_device;
use crate::linear::Products;
use crate::sequences::OnDevice;

/// Tokens that go through the model together, unless other is asked for; bounds the activations held.
const PASS_TOKENS: usize = 4096;
/// Logits that are held at once at most, in values: 128 MiB.
const LOGITS: usize = 1 << 25;

/// A model whose weights are on a device.
#[derive(Debug)]
pub struct CudaModel {
    // Dropped first: all else is memory of the device.
    state: Mutex<State>,
    blocks: Vec<Block>,
    ends: Ends,
    config: ModelConfig,
    pass_tokens: usize,
    device: Arc<CudaDevice>,
}

/// What is kept from pass to pass; one pass runs at a time.
#[derive(Debug)]
pub(crate) struct State {
    products: Products,
    angles: Option<Angles>,
    places: Option<TokenPlaces>,
    activations: Option<Activations>,
    logits: Option<DeviceRows<f32>>,
}

impl CudaModel {
    /// Uploads a model, block by block.
    ///
    /// # Errors
    /// What `blocks` says; linears, heads and transforms that no kernel takes; no room on the device.
    pub fn new<E: From<RuntimeError>>(
        device: Arc<CudaDevice>,
        config: &ModelConfig,
        ends: ModelEnds<PackedLinear>,
        blocks: impl Iterator<Item = Result<BlockWeights<PackedLinear>, E>>,
    ) -> Result<Self, E> {
        let shape = head_shape(config);
        if !shape.is_supported() {
            let (n_heads, n_kv_heads, head_dim) = (shape.n_heads, shape.n_kv_heads, shape.head_dim);
            let error = CudaModelError::Heads { n_heads, n_kv_heads, head_dim };
            return Err(RuntimeError::from(error).into());
        }
        let ends = Ends::upload(&device, config, ends).map_err(RuntimeError::from)?;
        let blocks: Result<Vec<Block>, E> = blocks
            .enumerate()
            .map(|(layer, block)| {
                let uploaded = Block::upload(&device, config, layer, &block?);
                Ok(uploaded.map_err(RuntimeError::from)?)
            })
            .collect();
        let state = State {
            products: Products::new(&device).map_err(on_device)?,
            angles: None,
            places: None,
            activations: None,
            logits: None,
        };
        Ok(Self {
            state: Mutex::new(state),
            blocks: blocks?,
            ends,
            config: config.clone(),
            pass_tokens: PASS_TOKENS,
            device,
        })
    }

    /// The same model, through which at most so many tokens go together, 1 or more; fewer take less memory. 4,096 unless said.
    #[must_use]
    pub fn with_pass(self, tokens: usize) -> Self {
        Self { pass_tokens: tokens.max(1), ..self }
    }

    pub(crate) const fn pass_tokens(&self) -> usize {
        self.pass_tokens
    }

    pub(crate) fn device(&self) -> &CudaDevice {
        &self.device
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Whatever a pass left behind is overwritten by the next one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `tokens`, no more than go through together, at their `places`, over caches that there is one of for each layer, or
    /// one that all layers share since nothing of it is read later. Leaves the states after the last block, and these
    /// normalized, in the state.
    pub(crate) fn forward(
        &self,
        state: &mut State,
        tokens: &[u32],
        places: &[TokenPlace],
        caches: &mut [LayerCache],
    ) -> Result<(), RuntimeError> {
        let hidden = self.ends.embed(tokens)?;
        self.forward_hidden(state, &hidden, places, caches).map_err(on_device)
    }

    fn forward_hidden(
        &self,
        state: &mut State,
        hidden: &[f32],
        places: &[TokenPlace],
        caches: &mut [LayerCache],
    ) -> Result<(), CudaError> {
        let (device, config) = (&*self.device, &self.config);
        let State { products, angles, places: kept_places, activations, .. } = state;
        let activations = match activations {
            Some(kept) if kept.n_tokens() == places.len() => kept,
            // What is there is freed before its successor is made.
            other => {
                *other = None;
                other.insert(Activations::new(device, config, places.len())?)
            }
        };
        let places = match kept_places {
            Some(kept) if kept.n_tokens() == places.len() => {
                kept.write(places)?;
                kept
            }
            other => other.insert(device.token_places(places)?),
        };
        let positions = places.n_positions();
        let angles = match angles {
            Some(kept) if kept.n_positions() >= positions => kept,
            other => {
                let most = config.max_positions.max(positions);
                let table = RopeTable::new(config, positions.next_power_of_two().min(most));
                let [cosines, sines] = table.angles();
                other.insert(device.angles(cosines, sines, config.head_dim / 2)?)
            }
        };
        activations.hidden.write(hidden)?;
        let n_caches = caches.len();
        let mut pass = Pass { device, config, angles, places, products, activations };
        for (layer, block) in self.blocks.iter().enumerate() {
            block.forward(&mut pass, &mut caches[layer % n_caches], layer > 0)?;
        }
        let Activations { hidden, branch, input, .. } = activations;
        let branch = (!self.blocks.is_empty()).then_some(&*branch);
        self.ends.normalize(device, (hidden, branch), config.rms_norm_eps, input)
    }

    /// The states after the last block that the last pass left.
    pub(crate) fn hidden(&self, state: &State) -> Result<Vec<f32>, RuntimeError> {
        let Some(activations) = &state.activations else { return Ok(Vec::new()) };
        let hidden = activations.hidden.to_vec().map_err(on_device)?;
        match hidden.iter().all(|x| x.is_finite()) {
            true => Ok(hidden),
            false => Err(CudaModelError::NotFinite.into()),
        }
    }

    /// Logits of every token of the last pass.
    pub(crate) fn last_logits(&self, state: &mut State) -> Result<Vec<f32>, RuntimeError> {
        let State { products, activations, logits, .. } = state;
        let Some(activations) = activations else { return Ok(Vec::new()) };
        self.head(products, logits, &activations.input).map_err(on_device)
    }

    fn head(
        &self,
        products: &mut Products,
        kept: &mut Option<DeviceRows<f32>>,
        x: &DeviceRows<half::f16>,
    ) -> Result<Vec<f32>, CudaError> {
        let shape = (x.shape().0, self.ends.vocab_size());
        let logits = match kept {
            Some(kept) if kept.shape() == shape => kept,
            other => {
                *other = None;
                other.insert(self.device.f32_rows(shape.0, shape.1)?)
            }
        };
        self.ends.logits(&self.device, products, x, logits)?;
        logits.to_vec()
    }

    fn logits_of(&self, hidden: &[f32]) -> Result<Vec<f32>, CudaError> {
        let (device, d) = (&*self.device, self.config.hidden_size);
        let State { products, logits, .. } = &mut *self.state();
        let mut residual = device.upload_f32_rows(hidden, d)?;
        let mut input = device.f16_rows(hidden.len() / d, d)?;
        let eps = self.config.rms_norm_eps;
        self.ends.normalize(device, (&mut residual, None), eps, &mut input)?;
        self.head(products, logits, &input)
    }

    /// The place of the token at `position` of a sequence whose rows begin at `first`.
    pub(crate) fn place(&self, first: usize, position: usize) -> Result<TokenPlace, RuntimeError> {
        let start = self.config.sliding_window.map_or(0, |w| (position + 1).saturating_sub(w));
        let word = |value: usize| {
            let too_large = CudaError::TooLarge { what: "a row of the cache", value };
            u32::try_from(value).map_err(|_| on_device(too_large))
        };
        Ok(TokenPlace {
            position: word(position)?,
            row: word(first + position)?,
            start: word(first + start)?,
            count: word(position + 1 - start)?,
        })
    }

    /// Runs whole sequences that fit a pass together.
    fn windows_hidden(
        &self,
        state: &mut State,
        windows: &[&[u32]],
        caches: &mut Vec<LayerCache>,
    ) -> Result<Vec<f32>, RuntimeError> {
        let tokens: Vec<u32> = windows.concat();
        let mut places = Vec::with_capacity(tokens.len());
        for window in windows {
            let first = places.len();
            for position in 0..window.len() {
                places.push(self.place(first, position)?);
            }
        }
        if caches.is_empty() {
            let rows = tokens.len().max(self.pass_tokens);
            caches.push(LayerCache::new(&self.device, &self.config, rows).map_err(on_device)?);
        }
        let mut hidden = Vec::new();
        // A window longer than a pass goes through piece by piece, and then needs every layer's keys and values.
        if tokens.len() > self.pass_tokens {
            while caches.len() < self.blocks.len() {
                let cache = LayerCache::new(&self.device, &self.config, tokens.len());
                caches.push(cache.map_err(on_device)?);
            }
        }
        for (tokens, places) in tokens.chunks(self.pass_tokens).zip(places.chunks(self.pass_tokens))
        {
            self.forward(state, tokens, places, caches)?;
            hidden.extend(self.hidden(state)?);
        }
        Ok(hidden)
    }
}

impl Backend for CudaModel {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError> {
        if windows.is_empty() || windows.iter().any(|window| window.is_empty()) {
            return Err(RuntimeError::NoTokens);
        }
        let state = &mut *self.state();
        let (mut rest, mut hidden) = (windows, Vec::new());
        let mut caches = Vec::new();
        while !rest.is_empty() {
            let mut tokens = 0;
            let fit = rest.iter().take_while(|window| {
                tokens += window.len();
                tokens <= self.pass_tokens
            });
            let n = fit.count().max(1);
            if rest[0].len() > self.pass_tokens {
                caches.clear();
            }
            hidden.extend(self.windows_hidden(state, &rest[..n], &mut caches)?);
            rest = &rest[n..];
            progress(1.0 - rest.len() as f64 / windows.len() as f64);
        }
        Ok(hidden)
    }

    fn logits_into(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), RuntimeError> {
        let (d, vocab) = (self.config.hidden_size, self.ends.vocab_size());
        let rows = (LOGITS / vocab.max(1)).max(1);
        for (hidden, out) in hidden.chunks(rows * d).zip(out.chunks_mut(rows * vocab)) {
            out.copy_from_slice(&self.logits_of(hidden).map_err(on_device)?);
        }
        Ok(())
    }

    fn cache_bytes(&self, n_sequences: usize, tokens: usize) -> u64 {
        let config = &self.config;
        let width = 2 * config.n_layers * config.n_kv_heads * config.head_dim * size_of::<u16>();
        (width as u64).saturating_mul(n_sequences as u64).saturating_mul(tokens as u64)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.device.free_bytes().ok().map(|bytes| bytes as u64)
    }

    fn sequences(
        &self,
        n_sequences: usize,
        tokens: usize,
    ) -> Result<Box<dyn Sequences + '_>, RuntimeError> {
        Ok(Box::new(OnDevice::new(self, n_sequences, tokens)?))
    }
}
