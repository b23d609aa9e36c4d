//! What a user asks for when quantizing a model.

use std::path::PathBuf;

use rosaq_calib::{Collecting, Products, TokenWeighting};
use rosaq_methods::{Basis, HeadScope, MethodSettings, OrderPlan, QuantPlan, Rounding, find};
use rosaq_model::Role;
use rosaq_pack::{Segment, SegmentKind};
use rosaq_saliency::SaliencyRule;
use rosaq_text::{TextError, TokenWindows, Tokenizer, calibration_windows};
use serde_json::{Map, Value, json};

use crate::{PipelineError, TableWidth};

/// How many windows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many; a text with fewer is an error.
    Exactly(usize),
    /// So many, or as many as the text holds.
    UpTo(usize),
}

/// The calibration set: which text, how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalibrationSet {
    /// A `.jsonl` file of objects with `text`, or any plain text.
    pub path: PathBuf,
    /// Token windows.
    pub sequences: Amount,
    /// Tokens of each.
    pub length: usize,
    /// How much each token counts.
    pub weighting: TokenWeighting,
    /// The precision of the forward pass and of Gram matrices; by default what suits method and processor.
    pub products: Option<Products>,
}

impl CalibrationSet {
    /// How statistics for these methods are collected: in f32, unless all of them bear rounded activations and the processor
    /// is faster with these.
    ///
    /// # Errors
    /// A method that does not exist.
    pub(crate) fn collecting<'a>(
        &self,
        mut methods: impl Iterator<Item = &'a str>,
    ) -> Result<Collecting, PipelineError> {
        let products = match self.products {
            Some(products) => products,
            None => {
                let bear_it = methods.try_fold(rosaq_cpu::bf16_is_fast(), |all, name| {
                    Ok::<_, PipelineError>(all && find(name)?.bears_rounded_statistics())
                });
                if bear_it? { Products::Bf16 } else { Products::F32 }
            }
        };
        Ok(Collecting { weighting: self.weighting, products })
    }

    /// Reads and cuts the text.
    ///
    /// # Errors
    /// A text that cannot be read or is too short.
    pub fn windows(&self, tokenizer: &Tokenizer) -> Result<TokenWindows, TextError> {
        let read = |n| calibration_windows(&self.path, tokenizer, n, self.length);
        match self.sequences {
            Amount::Exactly(n) => read(n),
            Amount::UpTo(n) => match read(n) {
                Err(TextError::TooFewTokens { found, .. }) if found >= self.length => {
                    read(found / self.length)
                }
                other => other,
            },
        }
    }
}

/// Quantize one model with one method.
#[derive(Debug, Clone)]
pub struct QuantizeJob {
    /// A Hugging Face directory or a GGUF file.
    pub model: PathBuf,
    /// The method's name.
    pub method: String,
    /// Its settings.
    pub settings: MethodSettings,
    /// How embeddings and head are stored.
    pub tables: TableWidth,
    /// The calibration set.
    pub calibration: CalibrationSet,
    /// The directory to be made.
    pub out: PathBuf,
    /// Start over instead of resuming, and replace an earlier result.
    pub fresh: bool,
}

impl QuantizeJob {
    /// How its statistics are collected.
    pub(crate) fn collecting(&self) -> Result<Collecting, PipelineError> {
        self.calibration.collecting(std::iter::once(self.method.as_str()))
    }

    /// The settings as they stand in the checkpoint's configuration: what the plan does, defaults filled in.
    #[must_use]
    pub fn settings_json(&self, plan: &QuantPlan) -> Map<String, Value> {
        let s = &self.settings;
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        describe_width(s, plan, &mut put);
        if self.tables != TableWidth::F16 {
            put("embeddings", json!(self.tables.name()));
        }
        if !s.without.is_empty() {
            let parts = s.without.iter().map(ToString::to_string);
            put("without", json!(parts.collect::<Vec<_>>()));
        }
        if let Some(residual) = plan.residual {
            put("rotation", json!(residual.placement.to_string()));
            describe(residual.basis, &mut put);
        } else if let OrderPlan::ByMagnitude { salient } = plan.linear(0, Role::Query).order {
            put("saliency", json!("magnitude"));
            put("salient", json!(salient));
        }
        if let Some(heads) = plan.heads {
            let (name, key) = match heads.scope {
                HeadScope::EachHead => ("head-wise", "salient_per_head"),
                HeadScope::AllHeads => ("global", "salient_of_heads"),
            };
            put("output_rotation", json!(name));
            put(key, json!(heads.basis.salient()));
        } else if let (Some(_), OrderPlan::ByMagnitude { salient }) =
            (plan.residual, plan.linear(0, Role::Output).order)
        {
            put("output_rotation", json!("none"));
            put("salient_of_heads", json!(salient));
        }
        if let Rounding::Gptq(options) = plan.linear(0, Role::Query).rounding {
            put("rounding", json!("gptq"));
            put("act_order", json!(options.act_order));
            put("damping", json!(options.damping));
            put("scale_steps", json!(options.scale_steps));
        }
        if let Some(points) = plan.down_hadamard {
            put("down_hadamard", json!(points));
        }
        let segments = plan.linears.iter().flatten().flat_map(|linear| &linear.segments);
        let window_of = |segment: &Segment| match segment.kind {
            SegmentKind::Trellis { window, .. } => Some(window),
            _ => None,
        };
        if let Some(window) = segments.filter_map(window_of).next() {
            put("trellis_window", json!(window));
        }
        if self.calibration.weighting == TokenWeighting::ByResidual {
            put("token_weighting", json!("by residual"));
        }
        if s.preset.is_some() {
            put("preset", json!("paper"));
        }
        map
    }
}

fn describe_width(s: &MethodSettings, plan: &QuantPlan, put: &mut impl FnMut(&str, Value)) {
    let segments = || plan.linears.iter().flatten().flat_map(|linear| &linear.segments);
    if segments().all(|segment| segment.kind == SegmentKind::F16) {
        return;
    }
    match s.target_bits {
        Some(target) => put("target_bits", json!(target)),
        None => put("bits", json!(s.bits.get())),
    }
    // Methods with one scale a row have no use for it, and say nothing of it.
    let has_size = |segment: &Segment| {
        matches!(segment.kind, SegmentKind::Int { .. }) && segment.group_size == s.group_size
    };
    if s.target_bits.is_none() && segments().any(has_size) {
        put("group_size", json!(s.group_size));
    }
}

fn describe(basis: Basis, put: &mut impl FnMut(&str, Value)) {
    match basis {
        Basis::Eigen(first) => {
            put("basis", json!("eigenvectors"));
            put("saliency", json!(first.rule.to_string()));
            if let SaliencyRule::Random { seed } = first.rule {
                put("seed", json!(seed));
            }
            put("salient", json!(first.salient));
        }
        Basis::Hadamard { seed, steps } => {
            put("basis", json!("hadamard"));
            put("seed", json!(seed));
            put("learning_steps", json!(steps));
        }
    }
}
