//! Models that are held in memory as a whole, to be run many times.

use std::path::Path;

use rosaq_checkpoint::Checkpoint;
use rosaq_model::{Role, SourceModel};
use rosaq_pack::{ChannelOrder, PackedLinear, Segment};
use rosaq_quant::pack_nearest;
use rosaq_runtime::{Activations, Blocks, Model};
use rosaq_tensor::Matrix;

use crate::{PipelineError, TableWidth};

/// A rosaq checkpoint, with activations of that form, or a source model in f16.
///
/// # Errors
/// Whatever is wrong with the model; weights beyond the range of f16.
pub(crate) fn resident_model(
    path: &Path,
    activations: Activations,
) -> Result<Model, PipelineError> {
    if Checkpoint::is_rosaq(path) {
        Ok(Model::packed_with(path, activations)?)
    } else {
        f16_model(path)
    }
}

/// A source model with all of its weights in f16, multiplied with activations of f32.
fn f16_model(path: &Path) -> Result<Model, PipelineError> {
    let source = SourceModel::open(path)?;
    let config = source.config();
    let mut blocks = Vec::with_capacity(config.n_layers);
    for layer in 0..config.n_layers {
        let in_f16 = |role: Role, weight: Matrix| -> Result<PackedLinear, PipelineError> {
            let segments = [Segment::f16(weight.cols)];
            pack_nearest(&weight, &segments, ChannelOrder::Identity).map_err(|source| {
                PipelineError::Table { tensor: config.tensor_name(role, layer), source }
            })
        };
        blocks.push(source.load_block(layer)?.try_map(in_f16)?);
        source.release();
    }
    let ends = TableWidth::F16.pack(config, source.load_ends()?)?;
    let blocks = Blocks::packed(blocks, Activations::F32);
    Ok(Model::from_parts(config.clone(), ends, blocks))
}
