//! A whole model: tokens to hidden states to logits, over blocks that are streamed, resident or packed.

use std::path::Path;

use rosaq_checkpoint::Checkpoint;
use rosaq_cpu::Bf16Linear;
use rosaq_model::{ActivationObserver, BlockWeights, IgnoreActivations, ModelConfig, SourceModel};
use rosaq_pack::PackedLinear;
use rosaq_tensor::Matrix;

use crate::RuntimeError;
use crate::arranged::{Activations, ArrangedLinear};
use crate::block::{Batch, BlockContext, forward_block};
use crate::ends::Ends;
use crate::kept::CacheForm;
use crate::kv_cache::{KvCache, LayerCache};
use crate::rope::RopeTable;
use crate::workspace::Workspace;

/// Where the blocks' weights are.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a model holds one of these")]
pub enum Blocks {
    /// In the source checkpoint; one block at a time is turned into f32 and dropped again.
    Streamed(SourceModel),
    /// Dense, in memory.
    Dense(Vec<BlockWeights>),
    /// Packed, in memory; products are computed from the codes.
    Packed(Vec<BlockWeights<ArrangedLinear>>),
}

impl Blocks {
    /// Packed blocks for activations of some form.
    #[must_use]
    pub fn packed(blocks: Vec<BlockWeights<PackedLinear>>, activations: Activations) -> Self {
        let arranged = blocks.into_iter().map(|block| ArrangedLinear::block(block, activations));
        Self::Packed(arranged.collect())
    }
}

/// One block at hand.
#[derive(Debug)]
pub enum LoadedBlock<'a> {
    /// Freshly loaded from the source.
    Owned(Box<BlockWeights>),
    /// Dense, resident.
    Dense(&'a BlockWeights),
    /// Rounded to bf16, as are the inputs of its linears.
    Rounded(Box<BlockWeights<Bf16Linear>>),
    /// Packed, resident.
    Packed(&'a BlockWeights<ArrangedLinear>),
}

impl LoadedBlock<'_> {
    /// A dense block rounded to bf16.
    #[must_use]
    pub fn rounded(block: BlockWeights) -> Self {
        let rounded = block.try_map(|_, weight| {
            Ok::<_, std::convert::Infallible>(Bf16Linear::new(weight.cols, &weight.data))
        });
        Self::Rounded(Box::new(rounded.unwrap_or_else(|never| match never {})))
    }

    /// Runs the block; see [`forward_block`].
    pub fn forward(
        &self,
        context: BlockContext<'_>,
        hidden: &mut [f32],
        caches: &mut [LayerCache],
        observer: &mut dyn ActivationObserver,
        workspace: &mut Workspace,
    ) {
        match self {
            Self::Owned(block) => {
                forward_block(context, block, hidden, caches, observer, workspace);
            }
            Self::Dense(block) => {
                forward_block(context, block, hidden, caches, observer, workspace);
            }
            Self::Rounded(block) => {
                forward_block(context, block, hidden, caches, observer, workspace);
            }
            Self::Packed(block) => {
                forward_block(context, block, hidden, caches, observer, workspace);
            }
        }
    }
}

/// A model ready to run.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    ends: Ends,
    blocks: Blocks,
    cache_form: CacheForm,
}

/// Tokens that go through a block at once; bounds the activations held, and is large enough that unpacking a linear costs
/// little beside the product.
const BATCH_TOKENS: usize = 4096;

impl Model {
    /// A dense model over a source checkpoint, streamed block by block.
    ///
    /// # Errors
    /// As [`SourceModel::load_ends`].
    pub fn streamed(source: SourceModel) -> Result<Self, RuntimeError> {
        let ends: Ends = source.load_ends()?.into();
        source.release();
        Ok(Self::from_parts(source.config().clone(), ends, Blocks::Streamed(source)))
    }

    /// A packed model, read from a rosaq checkpoint, with activations of f32.
    ///
    /// # Errors
    /// As [`Checkpoint::open`] and the loading of its parts.
    pub fn packed(path: &Path) -> Result<Self, RuntimeError> {
        Self::packed_with(path, Activations::F32)
    }

    /// A packed model, read from a rosaq checkpoint, with activations of some form. At no time more than one block is held in two
    /// layouts.
    ///
    /// # Errors
    /// As [`Checkpoint::open`] and the loading of its parts.
    pub fn packed_with(path: &Path, activations: Activations) -> Result<Self, RuntimeError> {
        let checkpoint = Checkpoint::open(path)?;
        let config = checkpoint.config().clone();
        let load = |layer| Ok(ArrangedLinear::block(checkpoint.load_block(layer)?, activations));
        let blocks: Result<Vec<_>, RuntimeError> = (0..config.n_layers).map(load).collect();
        let ends = Ends::Packed(ArrangedLinear::ends(checkpoint.load_ends()?, activations));
        Ok(Self::from_parts(config, ends, Blocks::Packed(blocks?)))
    }

    /// A model from parts in memory.
    #[must_use]
    pub fn from_parts(config: ModelConfig, ends: impl Into<Ends>, blocks: Blocks) -> Self {
        Self { config, ends: ends.into(), blocks, cache_form: CacheForm::F32 }
    }

    /// The same model, whose sequences ([`Backend::sequences`](crate::Backend::sequences)) keep keys and values in some form.
    #[must_use]
    pub fn with_cache(self, cache_form: CacheForm) -> Self {
        Self { cache_form, ..self }
    }

    /// The form in which its sequences keep keys and values.
    #[must_use]
    pub const fn cache_form(&self) -> CacheForm {
        self.cache_form
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Block `layer`, loaded if need be.
    ///
    /// # Errors
    /// As [`SourceModel::load_block`].
    pub fn block(&self, layer: usize) -> Result<LoadedBlock<'_>, RuntimeError> {
        Ok(match &self.blocks {
            Blocks::Streamed(source) => {
                let block = source.load_block(layer)?;
                source.release();
                LoadedBlock::Owned(Box::new(block))
            }
            Blocks::Dense(blocks) => LoadedBlock::Dense(&blocks[layer]),
            Blocks::Packed(blocks) => LoadedBlock::Packed(&blocks[layer]),
        })
    }

    /// Embeddings of `tokens`, row-major `[tokens, hidden_size]`.
    ///
    /// # Errors
    /// Ids outside the vocabulary.
    pub fn embed(&self, tokens: impl Iterator<Item = u32>) -> Result<Vec<f32>, RuntimeError> {
        self.ends.embed(tokens)
    }

    /// Hidden states after the last block for every token of `windows`, row-major `[tokens, hidden_size]`. Windows are
    /// independent sequences. `progress` hears the share done, 0 to 1.
    ///
    /// # Errors
    /// Loading errors, ids outside the vocabulary, hidden states that overflow.
    pub fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError> {
        let mut hidden = self.embed(windows.iter().flat_map(|w| w.iter().copied()))?;
        let lengths: Vec<usize> = windows.iter().map(|w| w.len()).collect();
        let longest = lengths.iter().copied().max().ok_or(RuntimeError::NoTokens)?;
        if lengths.contains(&0) {
            return Err(RuntimeError::NoTokens);
        }
        let rope = RopeTable::new(&self.config, longest);
        for layer in 0..self.config.n_layers {
            let block = self.block(layer)?;
            let report = |share| {
                progress((layer as f64 + share) / self.config.n_layers as f64);
                Ok(())
            };
            let layer_pass = LayerPass { config: &self.config, rope: &rope, layer };
            layer_pass.run(&block, &lengths, &mut hidden, &mut IgnoreActivations, &report)?;
        }
        Ok(hidden)
    }

    /// Logits, row-major `[tokens, vocab_size]`, of `hidden` as [`Self::final_hidden`] gives it.
    pub fn logits_into(&self, hidden: &[f32], out: &mut [f32]) {
        self.ends.logits_into(hidden, self.config.rms_norm_eps, out);
    }

    /// Logits of one sequence, `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// As [`Self::final_hidden`].
    pub fn logits(&self, tokens: &[u32]) -> Result<Matrix, RuntimeError> {
        let hidden = self.final_hidden(&[tokens], &|_| ())?;
        let mut logits = Matrix::zeros(tokens.len(), self.ends.vocab_size());
        self.logits_into(&hidden, &mut logits.data);
        Ok(logits)
    }

    /// Feeds `tokens` behind those in `cache`, of one sequence, and returns the logits of all of them, `[tokens, vocab_size]`.
    ///
    /// # Errors
    /// As [`Self::final_hidden`].
    ///
    /// # Panics
    /// If the cache is not one of a single sequence.
    pub fn decode(&self, tokens: &[u32], cache: &mut KvCache) -> Result<Matrix, RuntimeError> {
        let hidden = self.decode_hidden(&[tokens], cache)?;
        let mut logits = Matrix::zeros(tokens.len(), self.ends.vocab_size());
        self.logits_into(&hidden, &mut logits.data);
        Ok(logits)
    }

    /// Feeds the tokens of every sequence behind those in `cache` and returns the logits of each one's last token,
    /// `[sequences, vocab_size]`.
    ///
    /// # Errors
    /// As [`Self::final_hidden`].
    ///
    /// # Panics
    /// If the cache does not hold as many sequences.
    pub fn next_logits(
        &self,
        tokens: &[&[u32]],
        cache: &mut KvCache,
    ) -> Result<Matrix, RuntimeError> {
        let n_tokens: usize = tokens.iter().map(|tokens| tokens.len()).sum();
        if n_tokens > FEW_TOKENS {
            return self.next_logits_of(tokens, cache);
        }
        rosaq_cpu::keep_awake(|| self.next_logits_of(tokens, cache))
    }

    fn next_logits_of(
        &self,
        tokens: &[&[u32]],
        cache: &mut KvCache,
    ) -> Result<Matrix, RuntimeError> {
        let hidden = self.decode_hidden(tokens, cache)?;
        let d = self.config.hidden_size;
        let (mut last, mut end) = (Vec::with_capacity(tokens.len() * d), 0);
        for tokens in tokens {
            end += tokens.len() * d;
            last.extend_from_slice(&hidden[end - d..end]);
        }
        let mut logits = Matrix::zeros(tokens.len(), self.ends.vocab_size());
        self.logits_into(&last, &mut logits.data);
        Ok(logits)
    }

    /// Hidden states after the last block of every sequence's tokens, which go on behind those in `cache`.
    fn decode_hidden(
        &self,
        tokens: &[&[u32]],
        cache: &mut KvCache,
    ) -> Result<Vec<f32>, RuntimeError> {
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.len()).collect();
        let n_cached = cache.n_sequences();
        assert_eq!(n_cached, lengths.len(), "a cache of {n_cached} sequences");
        if lengths.is_empty() || lengths.contains(&0) {
            return Err(RuntimeError::NoTokens);
        }
        let mut hidden = self.embed(tokens.iter().flat_map(|tokens| tokens.iter().copied()))?;
        let KvCache { layers, lengths: seen, rope, workspace, .. } = cache;
        let ends = seen.iter().zip(&lengths).map(|(seen, new)| seen + new);
        rope.extend(&self.config, ends.clone().max().unwrap_or(0));
        let batch = Batch { lengths: &lengths, parents: &[] };
        let context = BlockContext { config: &self.config, rope, batch };
        for (layer, caches) in layers.iter_mut().enumerate() {
            let (block, observer) = (self.block(layer)?, &mut IgnoreActivations);
            block.forward(context, &mut hidden, caches, observer, workspace);
        }
        *seen = ends.collect();
        Ok(hidden)
    }
}

/// Up to so many tokens, products are so short that threads are kept awake between them.
const FEW_TOKENS: usize = 16;

/// One layer's pass over many sequences, in batches of bounded size.
#[derive(Debug, Clone, Copy)]
pub struct LayerPass<'a> {
    /// The model's configuration.
    pub config: &'a ModelConfig,
    /// Angles for the longest sequence.
    pub rope: &'a RopeTable,
    /// Index of the layer, for messages.
    pub layer: usize,
}

impl LayerPass<'_> {
    /// Runs `block` over all sequences, whose lengths are `lengths` and whose states stand in `hidden`. `report` hears
    /// the share of tokens done after each batch and may end the pass with an error.
    ///
    /// # Errors
    /// [`RuntimeError::NotFinite`] when a hidden state overflows; whatever `report` returns.
    pub fn run(
        &self,
        block: &LoadedBlock<'_>,
        lengths: &[usize],
        hidden: &mut [f32],
        observer: &mut dyn ActivationObserver,
        report: &dyn Fn(f64) -> Result<(), RuntimeError>,
    ) -> Result<(), RuntimeError> {
        let d = self.config.hidden_size;
        let total = hidden.len();
        let (mut rest, mut lengths) = (hidden, lengths);
        let mut workspace = Workspace::default();
        while !lengths.is_empty() {
            let n = sequences_in_batch(lengths);
            let tokens: usize = lengths[..n].iter().sum();
            let (states, later) = rest.split_at_mut(tokens * d);
            let batch = Batch { lengths: &lengths[..n], parents: &[] };
            let context = BlockContext { config: self.config, rope: self.rope, batch };
            block.forward(context, states, &mut [], observer, &mut workspace);
            if !states.iter().all(|x| x.is_finite()) {
                return Err(RuntimeError::NotFinite { layer: self.layer });
            }
            (rest, lengths) = (later, &lengths[n..]);
            report(1.0 - rest.len() as f64 / total as f64)?;
        }
        Ok(())
    }
}

fn sequences_in_batch(lengths: &[usize]) -> usize {
    let mut tokens = 0;
    let fit = lengths.iter().take_while(|&&len| {
        tokens += len;
        tokens <= BATCH_TOKENS
    });
    fit.count().max(1)
}
