//! Eigenbases with the salient directions first.

use faer::{Mat, MatRef};
use rosaq_calib::LayerStats;
use rosaq_model::{ActivationSite, ModelConfig};
use rosaq_pca::{Eigenbasis, PcaError, eigenbasis, headwise_eigenbases};
use rosaq_saliency::{ChannelOrder, select_channels};

use crate::{MethodError, SalientFirst};

/// The bases around one block, as the residual rotation needs them; all the same when absorbed.
#[derive(Debug, Clone)]
pub struct BlockBases {
    /// At the input of query, key and value.
    pub attention: Mat<f64>,
    /// At the input of gate and up.
    pub mlp: Mat<f64>,
    /// At the next block's attention input; the last block repeats its own `mlp`.
    pub next: Mat<f64>,
}

/// The eigenbasis of `gram` with the salient columns in front.
///
/// # Errors
/// Gram matrices without an eigenbasis; `layer` and `site` serve the message.
pub fn residual_basis(
    gram: MatRef<'_, f64>,
    first: SalientFirst,
    layer: usize,
    site: ActivationSite,
) -> Result<Mat<f64>, MethodError> {
    let wrong = |source: PcaError| MethodError::Basis { layer, site: site.word(), source };
    let basis = eigenbasis(gram).map_err(wrong)?;
    salient_first(&basis, first, layer)
}

/// The eigenbasis of every value head, salient columns in front.
///
/// # Errors
/// Statistics without the heads' output, Gram matrices without an eigenbasis.
pub fn head_bases(
    config: &ModelConfig,
    stats: &LayerStats,
    first: SalientFirst,
    layer: usize,
) -> Result<Vec<Mat<f64>>, MethodError> {
    let site = ActivationSite::HeadsOutput;
    let gram = stats.gram(site).map_err(|source| MethodError::Statistics { layer, source })?;
    let wrong = |source: PcaError| MethodError::Basis { layer, site: site.word(), source };
    let bases =
        headwise_eigenbases(gram.view(), config.n_heads, config.n_kv_heads, config.head_dim)
            .map_err(wrong)?;
    bases.iter().map(|b| salient_first(b, first, layer)).collect()
}

fn salient_first(
    basis: &Eigenbasis,
    first: SalientFirst,
    layer: usize,
) -> Result<Mat<f64>, MethodError> {
    let chosen = select_channels(&basis.values, first.salient, first.rule)
        .map_err(|source| MethodError::Saliency { layer, source })?;
    let order = ChannelOrder::salient_first(&chosen);
    let order = order.permutation();
    Ok(Mat::from_fn(basis.dim(), basis.dim(), |i, j| basis.vectors[(i, order[j])]))
}
