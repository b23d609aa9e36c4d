//! Opens a packed checkpoint and loads its parts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;
use rosaq_model::{
    BlockRotations, BlockWeights, HeadBasis, LINEAR_ROLES, LinearWeights, ModelConfig, ModelEnds,
    Role,
};
use rosaq_pack::{ChannelOrder, LinearSpec, PackedLinear, PackedParts, Segment};
use rosaq_rotate::{randomized_basis, tied_head_input};
use rosaq_tensor::{DType, Matrix, TensorView};

use crate::config::{self, QuantizationConfig, read_config};
use crate::finish::ShardIndex;
use crate::header::{
    CONFIG_FILE, HEAD_INPUT, INDEX_FILE, LinearHeader, OrderHeader, RotationNames, module_name,
};
use crate::shard::Shard;
use crate::{CheckpointError, CheckpointSizes};

/// A packed model on disk: headers are checked, weights are mapped and loaded when asked for.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: ModelConfig,
    quantization: QuantizationConfig,
    pub(crate) ends: Shard,
    pub(crate) blocks: Vec<Shard>,
    codebooks: Arc<Vec<Vec<f16>>>,
    sizes: CheckpointSizes,
}

impl Checkpoint {
    /// Opens the directory `path` and checks everything but the numbers: configuration, index,
    /// headers of all shards, and that they describe the same model.
    ///
    /// # Errors
    /// A [`CheckpointError`] that names the file, and the tensor or module where there is one.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (config, quantization) = read_config(path)?;
        check_modules(&path.join(CONFIG_FILE), &config, &quantization)?;
        let ends = Shard::open_ends(path, &config)?;
        let codebooks = Arc::new(ends.codebooks()?);
        let mut index = ShardIndex::default();
        index.add(&ends);
        let mut blocks = Vec::new();
        for layer in 0..config.n_layers {
            let block = Shard::open_block(path, &config, layer)?;
            block.check_codebooks(&codebooks)?;
            index.add(&block);
            blocks.push(block);
        }
        let index_path = path.join(INDEX_FILE);
        ShardIndex::read(&index_path)?.check(&index_path, &index)?;
        let sizes = CheckpointSizes::count(&ends, &blocks);
        let path = path.to_owned();
        let mut checkpoint = Self { path, config, quantization, ends, blocks, codebooks, sizes };
        checkpoint.fill_in_orders()?;
        Ok(checkpoint)
    }

    /// Whether `path` is a directory whose `config.json` says that rosaq packed the model.
    #[must_use]
    pub fn is_rosaq(path: &Path) -> bool {
        config::is_rosaq(path)
    }

    /// The model's configuration.
    #[must_use]
    pub const fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How the model was quantized, explicit channel orders included.
    #[must_use]
    pub const fn quantization(&self) -> &QuantizationConfig {
        &self.quantization
    }

    /// Sizes by the headers.
    #[must_use]
    pub const fn sizes(&self) -> CheckpointSizes {
        self.sizes
    }

    /// Loads decoder block `layer`. Its linears share the codebooks of the checkpoint.
    ///
    /// # Errors
    /// A [`CheckpointError`] for scales, values, norms or biases that are NaN or infinite.
    ///
    /// # Panics
    /// If the model has no such layer.
    pub fn load_block(&self, layer: usize) -> Result<BlockWeights<PackedLinear>, CheckpointError> {
        let shard = &self.blocks[layer];
        let linear = |role| self.load_linear(shard, role, layer);
        let norm = |role| vector(shard, &self.config.tensor_name(role, layer));
        let has_qk_norm = self.config.family.has_qk_norm;
        let qk_norm = |role| has_qk_norm.then(|| norm(role)).transpose();
        let names = RotationNames::new(layer);
        let block = BlockWeights {
            attention_norm: norm(Role::AttentionNorm)?,
            query: linear(Role::Query)?,
            key: linear(Role::Key)?,
            value: linear(Role::Value)?,
            output: linear(Role::Output)?,
            query_norm: qk_norm(Role::QueryNorm)?,
            key_norm: qk_norm(Role::KeyNorm)?,
            mlp_norm: norm(Role::MlpNorm)?,
            gate: linear(Role::Gate)?,
            up: linear(Role::Up)?,
            down: linear(Role::Down)?,
            rotations: BlockRotations {
                attention_input: matrix(shard, &names.attention_input)?,
                mlp_input: matrix(shard, &names.mlp_input)?,
                heads_output: matrix(shard, &names.heads_output)?,
                shortcut_attention: matrix(shard, &names.shortcut_attention)?,
                shortcut_mlp: matrix(shard, &names.shortcut_mlp)?,
                down_hadamard: shard.down_hadamard(self.config.intermediate_size)?,
            },
        };
        shard.release();
        Ok(block)
    }

    /// Loads embedding, final norm, head and the matrix at its input. Tables stay as they are packed.
    ///
    /// # Errors
    /// A [`CheckpointError`] for values that are NaN or infinite.
    pub fn load_ends(&self) -> Result<ModelEnds<PackedLinear>, CheckpointError> {
        let shard = &self.ends;
        let name = |role| self.config.tensor_name(role, 0);
        let norm = vector(shard, &name(Role::FinalNorm))?;
        let (final_norm, head_input, head_basis) = match shard.head_basis()? {
            None => (norm, matrix(shard, HEAD_INPUT)?, None),
            Some(seed) => {
                let basis = randomized_basis(norm.len(), seed);
                let input = tied_head_input(&norm, basis.as_ref(), basis.as_ref());
                (vec![1.0; norm.len()], Some(input), Some(HeadBasis { seed, gain: norm }))
            }
        };
        let ends = ModelEnds {
            embedding: self.load_table(Role::Embedding)?,
            final_norm,
            head_input,
            head_basis,
            head: if self.config.tied_embeddings {
                None
            } else {
                Some(self.load_table(Role::Head)?)
            },
        };
        shard.release();
        Ok(ends)
    }

    fn load_table(&self, role: Role) -> Result<PackedLinear, CheckpointError> {
        let (shard, module) = (&self.ends, module_name(&self.config, role, 0));
        if let Some(header) = shard.linears.get(&module) {
            return self.load_packed(shard, module.clone(), read_spec(shard, &module, header)?);
        }
        let [out_features, in_features] = self.config.linear_shape(role);
        let segments = vec![Segment::f16(in_features)];
        let spec =
            LinearSpec { out_features, in_features, segments, order: ChannelOrder::Identity };
        let f16 = shard.get(&self.config.tensor_name(role, 0))?.to_f16()?;
        self.packed(shard, module, spec, PackedParts { f16, ..PackedParts::default() })
    }

    fn load_linear(
        &self,
        shard: &Shard,
        role: Role,
        layer: usize,
    ) -> Result<LinearWeights<PackedLinear>, CheckpointError> {
        let module = module_name(&self.config, role, layer);
        let Some(spec) = self.quantization.linears.get(&module).cloned() else {
            return Err(CheckpointError::MissingLinear { path: self.path.clone(), module });
        };
        let bias = shard.find(&format!("{module}.bias"));
        let bias = bias.map(|view| view.to_f32()).transpose()?;
        Ok(LinearWeights { weight: self.load_packed(shard, module, spec)?, bias })
    }

    fn load_packed(
        &self,
        shard: &Shard,
        module: String,
        spec: LinearSpec,
    ) -> Result<PackedLinear, CheckpointError> {
        let part = |part: &str| shard.find(&format!("{module}.{part}"));
        let bytes = |name| part(name).map_or_else(Vec::new, |view| view.bytes.to_vec());
        let halves = |name| part(name).map_or(Ok(Vec::new()), |view| view.to_f16());
        let parts = PackedParts {
            codes: bytes("codes"),
            scales: halves("scales")?,
            zeros: bytes("zeros"),
            f16: halves("f16")?,
        };
        self.packed(shard, module, spec, parts)
    }

    fn packed(
        &self,
        shard: &Shard,
        module: String,
        spec: LinearSpec,
        parts: PackedParts,
    ) -> Result<PackedLinear, CheckpointError> {
        PackedLinear::new(spec, parts, Arc::clone(&self.codebooks)).map_err(|source| {
            CheckpointError::Packed { path: shard.path().to_owned(), module, source }
        })
    }

    /// Compares the two descriptions of every linear and puts stored permutations into place.
    fn fill_in_orders(&mut self) -> Result<(), CheckpointError> {
        let path = self.path.join(CONFIG_FILE);
        for shard in &self.blocks {
            for (module, header) in &shard.linears {
                let spec = self.quantization.linears.get_mut(module);
                let Some(spec) = spec.filter(|spec| LinearHeader::of(spec) == *header) else {
                    return Err(CheckpointError::LinearMismatch {
                        config: path,
                        shard: shard.path().to_owned(),
                        module: module.clone(),
                    });
                };
                *spec = read_spec(shard, module, header)?;
            }
        }
        Ok(())
    }
}

/// Demands that the configuration describes every linear of the model and nothing else.
fn check_modules(
    path: &Path,
    config: &ModelConfig,
    quantization: &QuantizationConfig,
) -> Result<(), CheckpointError> {
    let mut unclaimed: BTreeSet<&String> = quantization.linears.keys().collect();
    for layer in 0..config.n_layers {
        for role in LINEAR_ROLES {
            let module = module_name(config, role, layer);
            let path = path.to_owned();
            let Some(spec) = quantization.linears.get(&module) else {
                return Err(CheckpointError::MissingLinear { path, module });
            };
            let expected = config.linear_shape(role);
            let found = [spec.out_features, spec.in_features];
            if expected != found {
                return Err(CheckpointError::LinearShape { path, module, expected, found });
            }
            unclaimed.remove(&module);
        }
    }
    match unclaimed.pop_first() {
        None => Ok(()),
        Some(module) => {
            Err(CheckpointError::UnknownLinear { path: path.to_owned(), module: module.clone() })
        }
    }
}

/// The description of a linear with its channel order, which is checked.
fn read_spec(
    shard: &Shard,
    module: &str,
    header: &LinearHeader,
) -> Result<LinearSpec, CheckpointError> {
    let permutation = match header.order {
        OrderHeader::Explicit => channels(&shard.get(&format!("{module}.channels"))?)?,
        OrderHeader::Identity | OrderHeader::PerHead { .. } => Vec::new(),
    };
    let spec = header.to_spec(permutation);
    spec.order.validate(spec.in_features).map_err(|source| CheckpointError::Packed {
        path: shard.path().to_owned(),
        module: module.to_owned(),
        source,
    })?;
    Ok(spec)
}

fn channels(view: &TensorView<'_>) -> Result<Vec<u32>, CheckpointError> {
    if view.dtype == DType::U16 {
        let pairs = view.bytes.as_chunks().0.iter();
        return Ok(pairs.map(|pair| u32::from(u16::from_le_bytes(*pair))).collect());
    }
    Ok(view.to_u32()?)
}

fn vector(shard: &Shard, name: &str) -> Result<Vec<f32>, CheckpointError> {
    Ok(shard.get(name)?.to_f32()?)
}

fn matrix(shard: &Shard, name: &str) -> Result<Option<Matrix>, CheckpointError> {
    Ok(shard.find(name).map(|view| view.to_matrix()).transpose()?)
}
