//! Models that are held in memory as a whole, to be run many times.

use std::path::Path;

use rosaq_checkpoint::Checkpoint;
use rosaq_model::{BlockWeights, ModelConfig, ModelEnds, Role, SourceModel};
use rosaq_pack::{ChannelOrder, PackedLinear, Segment};
use rosaq_quant::pack_nearest;
use rosaq_runtime::{Activations, Backend, Blocks, CacheForm, Model};
use rosaq_tensor::Matrix;

use crate::{PipelineError, Place, TableWidth};

/// A rosaq checkpoint, or a source model in f16, at a place.
///
/// # Errors
/// Whatever is wrong with the model; weights beyond the range of f16; what a device cannot run or hold.
pub(crate) fn resident_model(
    path: &Path,
    place: &Place,
) -> Result<Box<dyn Backend>, PipelineError> {
    match place {
        Place::Cpu(activations) if Checkpoint::is_rosaq(path) => {
            let model = Model::packed_with(path, *activations)?;
            Ok(Box::new(model.with_cache(cache_form(*activations))))
        }
        Place::Cpu(activations) => {
            let weights = Packed::open(path)?;
            let config = weights.config();
            let blocks: Result<Vec<_>, _> =
                (0..config.n_layers).map(|layer| weights.block(layer)).collect();
            let blocks = Blocks::packed(blocks?, Activations::F32);
            let model = Model::from_parts(config.clone(), weights.ends()?, blocks);
            Ok(Box::new(model.with_cache(cache_form(*activations))))
        }
        #[cfg(feature = "cuda")]
        Place::Cuda(device) => {
            let weights = Packed::open(path)?;
            let config = weights.config();
            let blocks = (0..config.n_layers).map(|layer| weights.block(layer));
            let device = std::sync::Arc::clone(device);
            let model = rosaq_cuda_model::CudaModel::new(device, config, weights.ends()?, blocks);
            Ok(Box::new(model?))
        }
    }
}

/// Whoever gives up exact activations for speed gives up exact keys and values, too.
const fn cache_form(activations: Activations) -> CacheForm {
    match activations {
        Activations::F32 => CacheForm::F32,
        Activations::Int8 => CacheForm::F16,
    }
}

/// Where packed weights come from, block by block.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is held at a time")]
enum Packed {
    /// As a checkpoint keeps them.
    Checkpoint(Checkpoint),
    /// From a source model, in f16.
    Source(SourceModel),
}

impl Packed {
    fn open(path: &Path) -> Result<Self, PipelineError> {
        if Checkpoint::is_rosaq(path) {
            let opened = Checkpoint::open(path).map_err(rosaq_runtime::RuntimeError::from)?;
            return Ok(Self::Checkpoint(opened));
        }
        Ok(Self::Source(SourceModel::open(path)?))
    }

    fn config(&self) -> &ModelConfig {
        match self {
            Self::Checkpoint(checkpoint) => checkpoint.config(),
            Self::Source(source) => source.config(),
        }
    }

    fn block(&self, layer: usize) -> Result<BlockWeights<PackedLinear>, PipelineError> {
        let source = match self {
            Self::Checkpoint(checkpoint) => {
                let block = checkpoint.load_block(layer);
                return Ok(block.map_err(rosaq_runtime::RuntimeError::from)?);
            }
            Self::Source(source) => source,
        };
        let in_f16 = |role: Role, weight: Matrix| -> Result<PackedLinear, PipelineError> {
            let segments = [Segment::f16(weight.cols)];
            pack_nearest(&weight, &segments, ChannelOrder::Identity).map_err(|error| {
                let tensor = source.config().tensor_name(role, layer);
                PipelineError::Table { tensor, source: error }
            })
        };
        let block = source.load_block(layer)?.try_map(in_f16)?;
        source.release();
        Ok(block)
    }

    fn ends(&self) -> Result<ModelEnds<PackedLinear>, PipelineError> {
        match self {
            Self::Checkpoint(checkpoint) => {
                Ok(checkpoint.load_ends().map_err(rosaq_runtime::RuntimeError::from)?)
            }
            Self::Source(source) => TableWidth::F16.pack(source.config(), source.load_ends()?),
        }
    }
}
