//! What reaches a block's linears once it is rotated and scaled, by statistics taken before either.

use faer::{Mat, MatRef};
use rosaq_model::{ActivationSite, BlockWeights};
use rosaq_rotate::hadamard_rotation;

use crate::execute::RotatedSite;
use crate::{BlockInput, HeadScope, MethodError, QuantPlan};

/// Statistics of a block's inputs as they stand.
pub(crate) struct SiteInputs<'a> {
    plan: &'a QuantPlan,
    input: BlockInput<'a>,
    /// Scales of sites without a norm, whose inputs are divided by them; those of norm sites are in the norm's gain.
    scales: [Option<Vec<f32>>; 4],
}

impl<'a> SiteInputs<'a> {
    pub(crate) fn new(plan: &'a QuantPlan, input: BlockInput<'a>) -> Self {
        Self { plan, input, scales: [const { None }; 4] }
    }

    /// From now on the inputs of `site`, which has no norm, are divided by `scales`.
    pub(crate) fn divide(&mut self, site: ActivationSite, scales: Vec<f32>) {
        self.scales[site.index()] = Some(scales);
    }

    /// The Gram matrix of the inputs of `site`, `None` when it was not collected.
    pub(crate) fn gram_if_known(
        &self,
        block: &BlockWeights,
        site: ActivationSite,
    ) -> Result<Option<Mat<f64>>, MethodError> {
        match self.input.stats {
            Some(stats) if stats.site(site).gram.is_some() => self.gram(block, site).map(Some),
            _ => Ok(None),
        }
    }

    /// The Gram matrix of the inputs of `site`.
    pub(crate) fn gram(
        &self,
        block: &BlockWeights,
        site: ActivationSite,
    ) -> Result<Mat<f64>, MethodError> {
        let layer = self.input.layer;
        let collected = self.input.stats()?.gram(site);
        let collected = collected.map_err(|source| MethodError::Statistics { layer, source })?;
        let mut gram = match self.rotation(site) {
            Some(r) => r.transpose() * collected.view() * r,
            None => collected.view().to_owned(),
        };
        if let (ActivationSite::HeadsOutput, Some(HeadScope::EachHead), Some(heads)) =
            (site, self.plan.heads.map(|h| h.scope), self.input.heads)
        {
            rotate_heads(&mut gram, heads, self.input.config.heads_per_kv());
        }
        if let Some(factor) = self.factor(block, site) {
            scale(&mut gram, &factor);
        }
        if let Some(points) = self.hadamard(site) {
            let transform = hadamard_rotation(points);
            let transform = transform.map_err(|source| MethodError::Rotation { layer, source })?;
            let blocks = gram.nrows() / points;
            rotate_heads(&mut gram, &[transform], blocks);
        }
        Ok(gram)
    }

    /// What the rotation of `site` did to its channels, whose Gram matrix is now `gram`; `None` where there was none.
    pub(crate) fn rotated(
        &self,
        site: ActivationSite,
        gram: MatRef<'_, f64>,
    ) -> Option<RotatedSite> {
        let heads = site == ActivationSite::HeadsOutput && self.plan.heads.is_some();
        if !heads && self.rotation(site).is_none() && self.hadamard(site).is_none() {
            return None;
        }
        let collected = self.input.stats?.site(site).gram.as_ref()?;
        let tokens = collected.tokens();
        let mean = |sum: f64| sum / tokens.max(1) as f64;
        Some(RotatedSite {
            site,
            tokens,
            before: collected.diagonal().into_iter().map(mean).collect(),
            after: (0..gram.nrows()).map(|i| mean(gram[(i, i)])).collect(),
        })
    }

    /// Mean |x| of each input channel of `site`; known only where the plan does not rotate it.
    pub(crate) fn magnitudes(
        &self,
        block: &BlockWeights,
        site: ActivationSite,
    ) -> Result<Vec<f64>, MethodError> {
        let mut means = self.input.stats()?.site(site).magnitude.means();
        if let Some(factor) = self.factor(block, site) {
            for (mean, f) in means.iter_mut().zip(&factor) {
                *mean *= f.abs();
            }
        }
        Ok(means)
    }

    /// Points of the transforms that the inputs of `site` go through.
    fn hadamard(&self, site: ActivationSite) -> Option<usize> {
        self.plan.down_hadamard.filter(|_| site == ActivationSite::DownInput)
    }

    fn rotation(&self, site: ActivationSite) -> Option<MatRef<'a, f64>> {
        let residual = || self.plan.residual.and(self.input.bases);
        match site {
            ActivationSite::AttentionInput => Some(residual()?.attention.as_ref()),
            ActivationSite::MlpInput => Some(residual()?.mlp.as_ref()),
            ActivationSite::HeadsOutput => match (self.plan.heads?.scope, self.input.heads?) {
                (HeadScope::AllHeads, [basis]) => Some(basis.as_ref()),
                _ => None,
            },
            ActivationSite::DownInput => None,
        }
    }

    /// What each channel is multiplied by: a norm's gain, or one over a scale.
    fn factor(&self, block: &BlockWeights, site: ActivationSite) -> Option<Vec<f64>> {
        let gain = |gain: &[f32]| Some(gain.iter().map(|&g| f64::from(g)).collect());
        match site {
            ActivationSite::AttentionInput => gain(&block.attention_norm),
            ActivationSite::MlpInput => gain(&block.mlp_norm),
            ActivationSite::HeadsOutput | ActivationSite::DownInput => {
                let scales = self.scales[site.index()].as_ref()?;
                Some(scales.iter().map(|&s| 1.0 / f64::from(s)).collect())
            }
        }
    }
}

/// `H <- diag(f) H diag(f)`.
fn scale(gram: &mut Mat<f64>, factor: &[f64]) {
    for (col, f_col) in factor.iter().enumerate() {
        for (row, f_row) in factor.iter().enumerate() {
            gram[(row, col)] *= f_row * f_col;
        }
    }
}

/// `H <- Bᵀ H B` for the block-diagonal `B` of the heads' bases.
fn rotate_heads(gram: &mut Mat<f64>, bases: &[Mat<f64>], heads_per_kv: usize) {
    let n_heads = bases.len() * heads_per_kv;
    let (n, d) = (gram.nrows(), gram.nrows() / n_heads);
    for head in 0..n_heads {
        let r = bases[head / heads_per_kv].as_ref();
        let columns = gram.as_ref().subcols(head * d, d) * r;
        gram.as_mut().subcols_mut(head * d, d).copy_from(&columns);
    }
    for head in 0..n_heads {
        let r = bases[head / heads_per_kv].as_ref();
        let rows = r.transpose() * gram.as_ref().submatrix(head * d, 0, d, n);
        gram.as_mut().submatrix_mut(head * d, 0, d, n).copy_from(&rows);
    }
}
