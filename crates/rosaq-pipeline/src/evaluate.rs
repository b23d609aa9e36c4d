//! Perplexity and KL divergence of a model on a text.

use std::path::{Path, PathBuf};

use rosaq_calib::Fingerprint;
use rosaq_checkpoint::Checkpoint;
use rosaq_eval::{LanguageModel, Score, perplexity, perplexity_and_kl};
use rosaq_model::{ModelError, SourceModel};
use rosaq_runtime::{Activations, Backend, Model, RuntimeError, TokenTree};
use rosaq_tensor::Matrix;
use rosaq_text::{AddSpecial, TextError, TokenWindows, Tokenizer, perplexity_text};

use crate::fingerprint::{checkpoint_fingerprint, hex, model_fingerprint, windows_fingerprint};
use crate::kept_reference::KeptReference;
use crate::report::{Evaluation, GoldenLogits};
use crate::resident::resident_model;
use crate::tokens::{source_tokenizer, warn_of_length};
use crate::{PipelineError, Place, Progress};

/// The text on which models are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalText {
    /// The file.
    pub path: PathBuf,
    /// Tokens of a window; `None` takes 2048 or what the model was made for, whichever is less.
    pub context: Option<usize>,
    /// Windows at most.
    pub max_segments: Option<usize>,
}

/// The usual context of perplexities in the quantization literature.
const DEFAULT_CONTEXT: usize = 2048;

/// Tokens of the prompt whose logits are kept.
const GOLDEN_PROMPT: usize = 16;
/// About so many of its logits are.
const GOLDEN_LOGITS: usize = 64;

/// A model opened for evaluation, with its tokenizer.
#[derive(Debug)]
pub struct EvalModel {
    model: Box<dyn Backend>,
    tokenizer: Tokenizer,
    path: PathBuf,
}

/// Tokens of a text in windows, and how they were obtained.
#[derive(Debug)]
pub struct EvalTokens {
    windows: TokenWindows,
    fingerprint: String,
    path: PathBuf,
    form: String,
}

/// The reference's part of a comparison, computed once for many models.
#[derive(Debug)]
pub struct Reference {
    model: EvalModel,
    hidden: Vec<f32>,
    score: Score,
}

impl EvalModel {
    /// Opens a rosaq checkpoint (packed, resident, with activations of f32) or any source model (dense, streamed block by block).
    ///
    /// # Errors
    /// Whatever is wrong with the model or its tokenizer.
    pub fn open(path: &Path) -> Result<Self, PipelineError> {
        Self::open_on(path, &Place::Cpu(Activations::F32))
    }

    /// As [`Self::open`], at a place; a device holds a source model in f16.
    ///
    /// # Errors
    /// Whatever is wrong with the model or its tokenizer.
    pub fn open_on(path: &Path, place: &Place) -> Result<Self, PipelineError> {
        let path_kept = path.to_owned();
        if Checkpoint::is_rosaq(path) {
            let tokenizer = Tokenizer::from_dir(path)?;
            return Ok(Self { model: resident_model(path, place)?, tokenizer, path: path_kept });
        }
        let source = SourceModel::open(path)?;
        let tokenizer = source_tokenizer(&source)?;
        let model: Box<dyn Backend> = match place {
            Place::Cpu(_) => Box::new(Model::streamed(source)?),
            #[cfg(feature = "cuda")]
            Place::Cuda(_) => resident_model(path, place)?,
        };
        Ok(Self { model, tokenizer, path: path_kept })
    }

    /// Hash of all its files, the tokenizer's included.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn fingerprint(&self) -> Result<Fingerprint, PipelineError> {
        if Checkpoint::is_rosaq(&self.path) {
            checkpoint_fingerprint(&self.path)
        } else {
            model_fingerprint(&SourceModel::open(&self.path)?)
        }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &dyn Backend {
        self.model.as_ref()
    }

    /// Its tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Tokens of `text` in windows.
    ///
    /// # Errors
    /// A text that cannot be read or is shorter than one window.
    pub fn tokens(&self, text: &EvalText) -> Result<EvalTokens, PipelineError> {
        let (content, form) = perplexity_text(&text.path)?;
        let tokens = self.tokenizer.encode(&content, AddSpecial::Yes)?;
        let context =
            text.context.unwrap_or_else(|| DEFAULT_CONTEXT.min(self.model.config().max_positions));
        let found = tokens.len();
        let mut windows = TokenWindows::new(tokens, context)?;
        if windows.is_empty() {
            let path = text.path.clone();
            return Err(TextError::TooFewTokens { path, found, needed: context }.into());
        }
        let vocab_size = self.model.config().vocab_size;
        if let Some(&id) = windows.tokens().iter().find(|&&id| id as usize >= vocab_size) {
            return Err(ModelError::TokenOutOfRange { id, vocab_size }.into());
        }
        if let Some(n) = text.max_segments {
            windows = windows.take(n);
        }
        let fingerprint = hex(&windows_fingerprint(&[0; 32], windows.tokens(), context));
        Ok(EvalTokens { windows, fingerprint, path: text.path.clone(), form: form.to_string() })
    }

    /// Runs the model as the reference of comparisons, or takes what an earlier run kept in the directory `keep`.
    ///
    /// # Errors
    /// Forward-pass errors; a directory that cannot be written.
    pub fn into_reference(
        self,
        tokens: &EvalTokens,
        keep: Option<&Path>,
        progress: Progress,
    ) -> Result<Reference, PipelineError> {
        let (ids, context) = (tokens.windows.tokens(), tokens.windows.context());
        warn_of_length(context, self.model.config(), progress);
        let shape = [ids.len(), self.model.config().hidden_size];
        let kept = match keep {
            Some(dir) => {
                let key = windows_fingerprint(&self.fingerprint()?, ids, context);
                Some(KeptReference::new(dir, &hex(&key)))
            }
            None => None,
        };
        if let Some((hidden, score)) = kept.as_ref().and_then(|kept| kept.load(shape)) {
            return Ok(Reference { model: self, hidden, score });
        }
        let stage = progress.stage("reference");
        let windows: Vec<&[u32]> = tokens.windows.windows().collect();
        let hidden = self.model.final_hidden(&windows, &|share| stage.set(share * 0.8))?;
        let score =
            rosaq_eval::score_hidden(&Adapter(self.model()), &hidden, &windows, &|share| {
                stage.set(0.8 + share * 0.2);
            })?;
        stage.finish();
        if let Some(kept) = &kept {
            kept.save(&hidden, shape, &score)?;
        }
        Ok(Reference { model: self, hidden, score })
    }

    /// A few logits behind the first tokens of `tokens`, for `verify` to find again.
    ///
    /// # Errors
    /// Forward-pass errors.
    pub fn golden_logits(&self, tokens: &EvalTokens) -> Result<GoldenLogits, PipelineError> {
        let ids = &tokens.windows.tokens()[..GOLDEN_PROMPT.min(tokens.windows.context())];
        let stride = (self.model.config().vocab_size / GOLDEN_LOGITS).max(1);
        let logits = sampled_logits(self.model(), ids, stride)?;
        Ok(GoldenLogits { ids: ids.to_vec(), stride, logits })
    }

    /// Perplexity alone, or with the KL divergence from `reference`.
    ///
    /// # Errors
    /// Forward-pass errors; vocabularies that differ.
    pub fn evaluate(
        &self,
        tokens: &EvalTokens,
        reference: Option<&Reference>,
        progress: Progress,
    ) -> Result<Evaluation, PipelineError> {
        if reference.is_none() {
            warn_of_length(tokens.windows.context(), self.model.config(), progress);
        }
        let stage = progress.stage("evaluate");
        let windows: Vec<&[u32]> = tokens.windows.windows().collect();
        let report = |share| stage.set(share);
        let score = match reference {
            None => perplexity(&Adapter(self.model()), &windows, &report)?,
            Some(r) => {
                let (model, reference) = (Adapter(self.model()), Adapter(r.model.model()));
                perplexity_and_kl(&model, &reference, &r.hidden, &windows, &report)?
            }
        };
        stage.finish();
        Ok(Evaluation {
            fingerprint: tokens.fingerprint.clone(),
            text: tokens.path.display().to_string(),
            text_form: tokens.form.clone(),
            context: tokens.windows.context(),
            tokens: score.n_tokens,
            perplexity: score.perplexity,
            reference_perplexity: reference.map(|r| r.score.perplexity),
            kl: score.kl,
            kl_stderr: score.kl_stderr,
        })
    }
}

/// Every `stride`-th logit after the last of `ids`.
pub(crate) fn sampled_logits(
    model: &dyn Backend,
    ids: &[u32],
    stride: usize,
) -> Result<Vec<f32>, RuntimeError> {
    let logits = model.logits(ids)?;
    let last = logits.data.chunks_exact(logits.cols).next_back().unwrap_or_default();
    Ok(last.iter().step_by(stride).copied().collect())
}

impl EvalTokens {
    /// Identifies the tokens and their division into windows.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Logits of one sequence, `[tokens, vocab_size]`, by the model at `path`, which needs no tokenizer.
///
/// # Errors
/// Whatever is wrong with the model; ids outside the vocabulary; other forward-pass errors.
pub fn logits(path: &Path, ids: &[u32]) -> Result<Matrix, PipelineError> {
    let model = if Checkpoint::is_rosaq(path) {
        Model::packed(path)?
    } else {
        Model::streamed(SourceModel::open(path)?)?
    };
    Ok(model.logits(ids)?)
}

impl Reference {
    /// The reference's own perplexity and the tokens scored.
    #[must_use]
    pub fn score(&self) -> &Score {
        &self.score
    }
}

/// A model as the evaluation sees it.
pub(crate) struct Adapter<'a>(pub(crate) &'a dyn Backend);

impl LanguageModel for Adapter<'_> {
    type Error = RuntimeError;

    fn hidden_size(&self) -> usize {
        self.0.config().hidden_size
    }

    fn vocab_size(&self) -> usize {
        self.0.config().vocab_size
    }

    fn final_hidden(
        &self,
        windows: &[&[u32]],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError> {
        self.0.final_hidden(windows, progress)
    }

    fn tree_hidden(
        &self,
        trees: &[rosaq_eval::TokenTree],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError> {
        let views: Vec<_> = trees.iter().map(tree_view).collect();
        match self.0.tree_hidden(&views, progress) {
            Some(hidden) => hidden,
            None => rosaq_eval::hidden_by_paths(self, trees, progress),
        }
    }

    fn logits(&self, hidden: &[f32], out: &mut [f32]) -> Result<(), RuntimeError> {
        self.0.logits_into(hidden, out)
    }
}

fn tree_view(tree: &rosaq_eval::TokenTree) -> TokenTree<'_> {
    TokenTree { tokens: &tree.tokens, lengths: &tree.lengths, parents: &tree.parents }
}
