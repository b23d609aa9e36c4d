//! Writes blocks and the model's ends as shards, each whole or not at all.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use rosaq_model::{BlockWeights, LINEAR_ROLES, LinearWeights, ModelConfig, ModelEnds, Role};
use rosaq_pack::{ChannelOrder, PackedLinear, Segment};
use rosaq_tensor::{DType, Matrix, TensorData, TensorError, f32_to_f16_bytes, write_safetensors};

use crate::CheckpointError;
use crate::header::{
    FORMAT_VERSION, HEAD_INPUT, LinearHeader, RotationNames, codebook_name, codebooks_digest,
    metadata, module_name, seed_text, shard_name,
};
use crate::inventory::{Slot, block_slots, channels_dtype, check_tensors, ends_slots};
use crate::shard::checksum_key;

/// Writes decoder block `layer` as a shard into the directory `dir`, replacing one that is there.
///
/// Norms and biases are kept in f32, rotations are rounded to f16. The shard appears whole or not
/// at all, and the same block gives the same bytes.
///
/// # Errors
/// A [`CheckpointError`] for shapes, biases or norms that `config` does not announce, values that
/// are not finite or exceed f16, linears packed with different codebooks, and failures of the disk.
///
/// # Panics
/// If the model has no such layer.
pub fn write_block_shard(
    dir: &Path,
    config: &ModelConfig,
    layer: usize,
    block: &BlockWeights<PackedLinear>,
) -> Result<(), CheckpointError> {
    assert!(layer < config.n_layers, "layer {layer} of {}", config.n_layers);
    let path = dir.join(shard_name(layer + 1, config.n_layers));
    let mut shard = ShardBuilder::new(&path);
    for role in LINEAR_ROLES {
        shard.add_linear(&module_name(config, role, layer), block.linear(role))?;
    }
    let name = |role| config.tensor_name(role, layer);
    shard.add_f32(name(Role::AttentionNorm), &block.attention_norm)?;
    shard.add_f32(name(Role::MlpNorm), &block.mlp_norm)?;
    for (role, norm) in [(Role::QueryNorm, &block.query_norm), (Role::KeyNorm, &block.key_norm)] {
        norm.as_ref().map_or(Ok(()), |norm| shard.add_f32(name(role), norm))?;
    }
    let names = RotationNames::new(layer);
    let rotations = &block.rotations;
    shard.add_rotation(names.attention_input, rotations.attention_input.as_ref())?;
    shard.add_rotation(names.mlp_input, rotations.mlp_input.as_ref())?;
    shard.add_rotation(names.heads_output, rotations.heads_output.as_ref())?;
    shard.add_rotation(names.shortcut_attention, rotations.shortcut_attention.as_ref())?;
    shard.add_rotation(names.shortcut_mlp, rotations.shortcut_mlp.as_ref())?;
    shard.down_hadamard = Some(match rotations.down_hadamard {
        Some(points) => format!("{}x{points}", config.intermediate_size / points),
        None => "none".to_owned(),
    });
    let codebooks = shared_codebooks(&path, block)?;
    let slots = block_slots(&path, config, layer, &shard.linears)?;
    shard.write(&slots, codebooks)
}

/// Writes embedding, final norm, head and codebooks as the first shard into the directory `dir`.
///
/// A table of f16 values alone is written as one tensor, any other as the parts of a linear. The head's
/// input matrix is rounded to f16, the norm is kept in f32. `codebooks` are those that the model's
/// linears name by index, empty if they name none.
///
/// # Errors
/// A [`CheckpointError`] for shapes that `config` does not announce, a head beside tied embeddings
/// or none without them, values that are not finite or exceed f16, and failures of the disk.
pub fn write_ends_shard(
    dir: &Path,
    config: &ModelConfig,
    ends: &ModelEnds<PackedLinear>,
    codebooks: &[Vec<f16>],
) -> Result<(), CheckpointError> {
    let path = dir.join(shard_name(0, config.n_layers));
    let mut shard = ShardBuilder::new(&path);
    shard.add_table(config, Role::Embedding, &ends.embedding);
    let norm = ends.head_basis.as_ref().map_or(&ends.final_norm, |basis| &basis.gain);
    shard.add_f32(config.tensor_name(Role::FinalNorm, 0), norm)?;
    match &ends.head_basis {
        Some(basis) => shard.head_basis = Some(seed_text(basis.seed)),
        None => shard.add_rotation(HEAD_INPUT.to_owned(), ends.head_input.as_ref())?,
    }
    if let Some(head) = &ends.head {
        shard.add_table(config, Role::Head, head);
    }
    for (id, levels) in codebooks.iter().enumerate() {
        shard.add_f16(codebook_name(id), vec![levels.len()], levels);
    }
    let codebook_lens: Vec<usize> = codebooks.iter().map(Vec::len).collect();
    let slots = ends_slots(&path, config, &shard.linears, &codebook_lens)?;
    shard.write(&slots, None)
}

/// The codebooks that the block's linears share, `None` if no linear uses any.
fn shared_codebooks<'a>(
    path: &Path,
    block: &'a BlockWeights<PackedLinear>,
) -> Result<Option<&'a [Vec<f16>]>, CheckpointError> {
    let linears = LINEAR_ROLES.into_iter().map(|role| &block.linear(role).weight);
    let mut users = linears.filter(|linear| LinearHeader::of(&linear.spec()).uses_codebooks());
    let Some(first) = users.next() else { return Ok(None) };
    if users.all(|linear| linear.codebooks == first.codebooks) {
        Ok(Some(&first.codebooks))
    } else {
        Err(CheckpointError::Codebooks { path: path.to_owned() })
    }
}

/// Tensors and metadata of a shard on its way to the disk.
struct ShardBuilder<'a> {
    path: &'a Path,
    tensors: Vec<TensorData<'a>>,
    linears: BTreeMap<String, LinearHeader>,
    down_hadamard: Option<String>,
    head_basis: Option<String>,
}

impl<'a> ShardBuilder<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            tensors: Vec::new(),
            linears: BTreeMap::new(),
            down_hadamard: None,
            head_basis: None,
        }
    }

    fn add(&mut self, name: String, dtype: DType, shape: Vec<usize>, bytes: Cow<'a, [u8]>) {
        self.tensors.push(TensorData { name, dtype, shape, bytes });
    }

    fn add_f32(&mut self, name: String, values: &[f32]) -> Result<(), CheckpointError> {
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (path, value) = (self.path.to_owned(), values[index]);
            return Err(TensorError::NonFinite { path, tensor: name, index, value }.into());
        }
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(name, DType::F32, vec![values.len()], bytes.into());
        Ok(())
    }

    fn add_f16(&mut self, name: String, shape: Vec<usize>, values: &[f16]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.add(name, DType::F16, shape, bytes.into());
    }

    fn add_matrix(&mut self, name: String, matrix: &Matrix) -> Result<(), CheckpointError> {
        let bytes = f32_to_f16_bytes(&matrix.data, &name)?;
        self.add(name, DType::F16, vec![matrix.rows, matrix.cols], bytes.into());
        Ok(())
    }

    fn add_rotation(
        &mut self,
        name: String,
        matrix: Option<&Matrix>,
    ) -> Result<(), CheckpointError> {
        matrix.map_or(Ok(()), |matrix| self.add_matrix(name, matrix))
    }

    /// Adds embeddings or head.
    fn add_table(&mut self, config: &ModelConfig, role: Role, table: &'a PackedLinear) {
        if *table.segments == [Segment::f16(table.in_features)]
            && table.order == ChannelOrder::Identity
        {
            let shape = vec![table.out_features, table.in_features];
            self.add_f16(config.tensor_name(role, 0), shape, &table.f16);
        } else {
            self.add_parts(&module_name(config, role, 0), table);
        }
    }

    fn add_linear(
        &mut self,
        module: &str,
        linear: &'a LinearWeights<PackedLinear>,
    ) -> Result<(), CheckpointError> {
        self.add_parts(module, &linear.weight);
        match &linear.bias {
            Some(bias) => self.add_f32(format!("{module}.bias"), bias),
            None => Ok(()),
        }
    }

    /// Adds the parts of a packed matrix that are not empty.
    fn add_parts(&mut self, module: &str, weight: &'a PackedLinear) {
        let layout = weight.layout();
        let name = |part: &str| format!("{module}.{part}");
        for (part, bytes) in [("codes", &weight.codes), ("zeros", &weight.zeros)] {
            if !bytes.is_empty() {
                self.add(name(part), DType::U8, vec![bytes.len()], bytes.as_slice().into());
            }
        }
        let halves = [
            ("scales", &weight.scales, layout.groups_per_row),
            ("f16", &weight.f16, layout.f16_per_row),
        ];
        for (part, values, width) in halves {
            if !values.is_empty() {
                self.add_f16(name(part), vec![weight.out_features, width], values);
            }
        }
        if let ChannelOrder::Explicit(order) = &weight.order {
            let dtype = channels_dtype(weight.in_features);
            self.add(
                name("channels"),
                dtype,
                vec![order.len()],
                channel_bytes(order, dtype).into(),
            );
        }
        self.linears.insert(module.to_owned(), LinearHeader::of(&weight.spec()));
    }

    /// Checks the tensors against `slots` and writes them.
    fn write(self, slots: &[Slot], codebooks: Option<&[Vec<f16>]>) -> Result<(), CheckpointError> {
        let found = self.tensors.iter().map(|t| (&*t.name, t.dtype, &*t.shape));
        check_tensors(self.path, slots, found)?;
        let linears = serde_json::to_string(&self.linears).map_err(|source| {
            let (path, what) = (self.path.to_owned(), "the description of the linears");
            CheckpointError::Json { path, what, source }
        })?;
        let (key, value) = metadata::FORMAT;
        let mut text = BTreeMap::from([
            (key.to_owned(), value.to_owned()),
            (metadata::VERSION.to_owned(), FORMAT_VERSION.to_string()),
            (metadata::LINEARS.to_owned(), linears),
        ]);
        if let Some(codebooks) = codebooks {
            text.insert(metadata::CODEBOOKS.to_owned(), codebooks_digest(codebooks));
        }
        text.extend(
            self.down_hadamard.map(|transforms| (metadata::DOWN_HADAMARD.to_owned(), transforms)),
        );
        text.extend(self.head_basis.map(|seed| (metadata::HEAD_BASIS.to_owned(), seed)));
        text.extend(self.tensors.iter().map(|tensor| {
            (checksum_key(&tensor.name), blake3::hash(&tensor.bytes).to_hex().to_string())
        }));
        Ok(write_safetensors(self.path, &self.tensors, text)?)
    }
}

/// A permutation in the stored type: the low two bytes of each number for U16, all four for U32.
fn channel_bytes(order: &[u32], dtype: DType) -> Vec<u8> {
    let n_bytes = dtype.block_bytes();
    order.iter().flat_map(|channel| channel.to_le_bytes().into_iter().take(n_bytes)).collect()
}
