//! The bases into which a plan rotates, from the statistics on disk.

use faer::{Mat, MatRef};
use rosaq_calib::LayerStats;
use rosaq_learn::LearnOptions;
use rosaq_methods::{
    Basis, BlockBases, BlockInput, HeadRotation, HeadScope, QuantPlan, ResidualRotation,
    head_bases, learn_heads, residual_basis,
};
use rosaq_model::{ActivationSite, BlockWeights, HeadBasis, ModelConfig, ModelEnds, SourceModel};
use rosaq_quant::round_to_f16;
use rosaq_rotate::{Placement, randomized_basis, rotate_ends};

use crate::calibrate::StatsDir;
use crate::learned::{Learn, Learning};
use crate::workdir::WorkDir;
use crate::{PipelineError, Progress};

/// The bases of residual and value heads, computed when asked for.
pub(crate) struct Bases<'a> {
    config: &'a ModelConfig,
    stats: &'a StatsDir,
    rotation: Option<ResidualRotation>,
    heads: Option<HeadRotation>,
    /// The one basis of an absorbed rotation.
    pooled: Option<Mat<f64>>,
    /// How that was learned.
    pub(crate) learning: Option<Learning>,
}

/// Where a rotation is learned and kept.
#[derive(Clone, Copy)]
pub(crate) struct Learner<'a> {
    pub(crate) source: &'a SourceModel,
    pub(crate) work: &'a WorkDir,
    pub(crate) progress: Progress,
}

impl<'a> Bases<'a> {
    /// Computes what all blocks share.
    pub(crate) fn new(
        config: &'a ModelConfig,
        stats: &'a StatsDir,
        plan: &QuantPlan,
        learner: Option<Learner<'_>>,
    ) -> Result<Self, PipelineError> {
        let (rotation, heads) = (plan.residual, plan.heads);
        let mut learning = None;
        let mut pooled = match rotation {
            Some(rotation) if rotation.placement == Placement::Absorbed => {
                Some(pooled_basis(config, stats, rotation.basis)?)
            }
            _ => None,
        };
        if let (Some(start), Some(options), Some(learner)) =
            (&mut pooled, learn_options(rotation.map(|r| r.basis)), learner)
        {
            let Learner { source, work, progress } = learner;
            let job = Learn { source, stats, plan, options, work };
            let (learned, how) = job.rotation(start.clone(), progress)?;
            *start = learned;
            learning = Some(how);
        }
        Ok(Self { config, stats, rotation, heads, pooled, learning })
    }

    /// A basis for each value head of a block, or one over all heads, where the plan rotates them.
    pub(crate) fn of_heads(
        &self,
        plan: &QuantPlan,
        input: BlockInput<'_>,
        block: &BlockWeights,
    ) -> Result<Option<Vec<Mat<f64>>>, PipelineError> {
        let (config, layer) = (self.config, input.layer);
        let basis = self.heads.map(|h| h.basis);
        Ok(match (basis, input.stats) {
            (Some(Basis::Eigen(first)), Some(stats)) => Some(match self.heads.map(|h| h.scope) {
                Some(HeadScope::AllHeads) => {
                    let site = ActivationSite::HeadsOutput;
                    vec![residual_basis(stats.gram(site)?.view(), first, layer, site)?]
                }
                _ => head_bases(config, stats, first, layer)?,
            }),
            (Some(Basis::Hadamard { seed, .. }), _) => {
                let first = seed + (layer * config.n_kv_heads) as u64;
                let seeds = first..first + config.n_kv_heads as u64;
                let starts = seeds.map(|seed| randomized_basis(config.head_dim, seed)).collect();
                Some(match learn_options(basis) {
                    Some(options) => learn_heads(plan, input, block.clone(), starts, &options)?,
                    None => starts,
                })
            }
            _ => None,
        })
    }

    /// The basis in which the linears of `site` read.
    pub(crate) fn at(
        &self,
        layer: usize,
        stats: &LayerStats,
        site: ActivationSite,
    ) -> Result<Option<Mat<f64>>, PipelineError> {
        match (&self.pooled, &self.rotation) {
            (Some(pooled), _) => Ok(Some(pooled.clone())),
            (None, Some(rotation)) => site_basis(stats, layer, site, rotation).map(Some),
            (None, None) => Ok(None),
        }
    }

    /// The bases around one block; `known` is its attention basis where that was computed already.
    pub(crate) fn around(
        &self,
        layer: usize,
        stats: Option<&LayerStats>,
        known: Option<Mat<f64>>,
    ) -> Result<Option<BlockBases>, PipelineError> {
        let (Some(rotation), Some(stats)) = (&self.rotation, stats) else {
            return Ok(None);
        };
        if let Some(r) = &self.pooled {
            return Ok(Some(BlockBases { attention: r.clone(), mlp: r.clone(), next: r.clone() }));
        }
        let is_last = layer + 1 == self.config.n_layers;
        let shortcut = rotation.placement == Placement::Shortcut;
        let (attention, mlp) = rayon::join(
            || match known {
                Some(basis) if shortcut => Ok(basis),
                _ => site_basis(stats, layer, ActivationSite::AttentionInput, rotation),
            },
            || site_basis(stats, layer, ActivationSite::MlpInput, rotation),
        );
        let (attention, mlp) = (attention?, mlp?);
        let next = if shortcut && !is_last {
            self.loaded_basis(layer + 1, ActivationSite::AttentionInput, rotation)?
        } else {
            mlp.clone()
        };
        Ok(Some(BlockBases { attention, mlp, next }))
    }

    fn loaded_basis(
        &self,
        layer: usize,
        site: ActivationSite,
        rotation: &ResidualRotation,
    ) -> Result<Mat<f64>, PipelineError> {
        let stats = self.stats.load(layer, self.config)?;
        site_basis(&stats, layer, site, rotation)
    }

    /// Embedding, last norm and head in their bases.
    pub(crate) fn rotated_ends(&self, mut ends: ModelEnds) -> Result<ModelEnds, PipelineError> {
        if let Some(rotation) = &self.rotation {
            let last_layer = self.config.n_layers - 1;
            let (first, last);
            let (first, last): (MatRef<'_, f64>, MatRef<'_, f64>) = match &self.pooled {
                Some(r) => (r.as_ref(), r.as_ref()),
                None if rotation.placement == Placement::Online => return Ok(ends),
                None => {
                    first = self.loaded_basis(0, ActivationSite::AttentionInput, rotation)?;
                    last = self.loaded_basis(last_layer, ActivationSite::MlpInput, rotation)?;
                    (first.as_ref(), last.as_ref())
                }
            };
            let gain = ends.final_norm.clone();
            rotate_ends(&mut ends, rotation.placement, first, last);
            match (rotation.seed_alone(), &ends.head_input) {
                (Some(seed), Some(_)) => ends.head_basis = Some(HeadBasis { seed, gain }),
                _ => ends.head_input.iter_mut().for_each(round_to_f16),
            }
        }
        Ok(ends)
    }
}

fn site_basis(
    stats: &LayerStats,
    layer: usize,
    site: ActivationSite,
    rotation: &ResidualRotation,
) -> Result<Mat<f64>, PipelineError> {
    let gram = stats.gram(site)?;
    Ok(match rotation.basis {
        Basis::Eigen(first) => residual_basis(gram.view(), first, layer, site)?,
        Basis::Hadamard { seed, .. } => randomized_basis(gram.dim(), seed),
    })
}

/// How a basis is learned, if it is.
fn learn_options(basis: Option<Basis>) -> Option<LearnOptions> {
    match basis {
        Some(Basis::Hadamard { seed, steps }) if steps > 0 => {
            Some(LearnOptions { n_steps: steps, seed, ..LearnOptions::default() })
        }
        _ => None,
    }
}

/// The one basis of the residual stream.
fn pooled_basis(
    config: &ModelConfig,
    stats: &StatsDir,
    basis: Basis,
) -> Result<Mat<f64>, PipelineError> {
    Ok(match basis {
        Basis::Eigen(first) => {
            let gram = pooled_gram(config, stats)?;
            residual_basis(gram.as_ref(), first, 0, ActivationSite::AttentionInput)?
        }
        Basis::Hadamard { seed, .. } => randomized_basis(config.hidden_size, seed),
    })
}

/// Sum over the residual's sites of `H / trace H`: every site counts alike.
fn pooled_gram(config: &ModelConfig, stats: &StatsDir) -> Result<Mat<f64>, PipelineError> {
    let mut pooled = Mat::<f64>::zeros(config.hidden_size, config.hidden_size);
    for layer in 0..config.n_layers {
        let stats = stats.load(layer, config)?;
        for site in [ActivationSite::AttentionInput, ActivationSite::MlpInput] {
            let gram = stats.gram(site)?;
            let trace = gram.trace();
            if trace > 0.0 {
                pooled += faer::Scale(1.0 / trace) * gram.view();
            }
        }
    }
    Ok(pooled)
}
