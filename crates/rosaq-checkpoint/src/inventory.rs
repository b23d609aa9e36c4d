//! Which tensors a shard holds: the one list against which writers and readers are checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_tensor::{DType, TensorError};

use crate::CheckpointError;
use crate::header::{
    HEAD_INPUT, LinearHeader, OrderHeader, RotationNames, check_block_linears, check_tables,
    codebook_name, module_name, table_roles,
};

/// What a tensor's bytes count as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// A part of a quantized linear, or something stored for the sake of quantization.
    Quantized,
    /// Embeddings, head, norms, biases: the model's own.
    Model,
}

/// Whether a shard can do without a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Required,
    Optional,
}

/// One tensor of a shard.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) share: Share,
    dtype: DType,
    shape: Vec<usize>,
    presence: Presence,
}

impl Slot {
    fn model(name: String, dtype: DType, shape: &[usize]) -> Self {
        let presence = Presence::Required;
        Self { name, share: Share::Model, dtype, shape: shape.to_owned(), presence }
    }

    fn quantized(name: String, dtype: DType, shape: &[usize]) -> Self {
        Self { share: Share::Quantized, ..Self::model(name, dtype, shape) }
    }

    fn rotation(name: String, order: usize) -> Self {
        let slot = Self::quantized(name, DType::F16, &[order, order]);
        Self { presence: Presence::Optional, ..slot }
    }
}

/// The tensors of block `layer`, whose linears are described by `linears`.
pub(crate) fn block_slots(
    path: &Path,
    config: &ModelConfig,
    layer: usize,
    linears: &BTreeMap<String, LinearHeader>,
) -> Result<Vec<Slot>, CheckpointError> {
    check_block_linears(path, config, layer, linears)?;
    let d = config.hidden_size;
    let mut norms = vec![(Role::AttentionNorm, d), (Role::MlpNorm, d)];
    if config.family.has_qk_norm {
        norms.extend([(Role::QueryNorm, config.head_dim), (Role::KeyNorm, config.head_dim)]);
    }
    let norm_slot = |(role, len)| Slot::model(config.tensor_name(role, layer), DType::F32, &[len]);
    let mut slots: Vec<Slot> = norms.into_iter().map(norm_slot).collect();
    for role in LINEAR_ROLES {
        let module = module_name(config, role, layer);
        if config.biased.contains(&role) {
            let [out_features, _] = config.linear_shape(role);
            slots.push(Slot::model(format!("{module}.bias"), DType::F32, &[out_features]));
        }
        slots.extend(linear_slots(path, &module, &linears[&module])?);
    }
    let rotations = RotationNames::new(layer).all(config);
    slots.extend(rotations.map(|(name, order)| Slot::rotation(name, order)));
    Ok(slots)
}

/// The tensors of the model's ends, whose packed tables are described by `tables`, with codebooks of these lengths.
pub(crate) fn ends_slots(
    path: &Path,
    config: &ModelConfig,
    tables: &BTreeMap<String, LinearHeader>,
    codebook_lens: &[usize],
) -> Result<Vec<Slot>, CheckpointError> {
    check_tables(path, config, tables)?;
    let final_norm = config.tensor_name(Role::FinalNorm, 0);
    let mut slots = vec![
        Slot::model(final_norm, DType::F32, &[config.hidden_size]),
        Slot::rotation(HEAD_INPUT.to_owned(), config.hidden_size),
    ];
    for role in table_roles(config) {
        let module = module_name(config, role, 0);
        match tables.get(&module) {
            Some(table) => {
                let parts = linear_slots(path, &module, table)?;
                slots.extend(parts.into_iter().map(|slot| Slot { share: Share::Model, ..slot }));
            }
            None => {
                let (name, shape) = (config.tensor_name(role, 0), config.linear_shape(role));
                slots.push(Slot::model(name, DType::F16, &shape));
            }
        }
    }
    let codebooks = codebook_lens.iter().enumerate();
    slots
        .extend(codebooks.map(|(id, &len)| Slot::quantized(codebook_name(id), DType::F16, &[len])));
    Ok(slots)
}

/// Element type of the stored permutation of `in_features` channels.
pub(crate) fn channels_dtype(in_features: usize) -> DType {
    if u16::try_from(in_features).is_ok() { DType::U16 } else { DType::U32 }
}

/// Demands that the tensors `found` are those of `slots`: none missing, none of another type or
/// shape, none besides.
pub(crate) fn check_tensors<'a>(
    path: &Path,
    slots: &[Slot],
    found: impl Iterator<Item = (&'a str, DType, &'a [usize])>,
) -> Result<(), CheckpointError> {
    let found: BTreeMap<&str, (DType, &[usize])> =
        found.map(|(name, dtype, shape)| (name, (dtype, shape))).collect();
    for slot in slots {
        match found.get(&*slot.name) {
            Some(&(dtype, shape)) => check_tensor(path, slot, dtype, shape)?,
            None if slot.presence == Presence::Optional => {}
            None => {
                let (path, tensor) = (path.to_owned(), slot.name.clone());
                let n_tensors = found.len();
                return Err(TensorError::MissingTensor { path, tensor, n_tensors }.into());
            }
        }
    }
    let claimed: BTreeSet<&str> = slots.iter().map(|slot| &*slot.name).collect();
    match found.keys().find(|name| !claimed.contains(*name)) {
        None => Ok(()),
        Some(&name) => {
            Err(CheckpointError::UnclaimedTensor { path: path.to_owned(), tensor: name.to_owned() })
        }
    }
}

fn check_tensor(
    path: &Path,
    slot: &Slot,
    dtype: DType,
    shape: &[usize],
) -> Result<(), CheckpointError> {
    let (path, tensor) = (path.to_owned(), slot.name.clone());
    if dtype != slot.dtype {
        let (expected, found) = (slot.dtype, dtype);
        return Err(CheckpointError::WrongType { path, tensor, expected, found });
    }
    if shape != slot.shape {
        let (expected, found) = (slot.shape.clone(), shape.to_owned());
        return Err(TensorError::Shape { path, tensor, expected, found }.into());
    }
    Ok(())
}

/// The parts of a linear that are not empty.
fn linear_slots(
    path: &Path,
    module: &str,
    linear: &LinearHeader,
) -> Result<Vec<Slot>, CheckpointError> {
    let layout = linear.layout().map_err(|source| CheckpointError::Packed {
        path: path.to_owned(),
        module: module.to_owned(),
        source,
    })?;
    let out = linear.out_features;
    let slot =
        |part, dtype, shape: &[usize]| Slot::quantized(format!("{module}.{part}"), dtype, shape);
    let mut slots = vec![
        slot("codes", DType::U8, &[layout.code_bytes]),
        slot("scales", DType::F16, &[out, layout.groups_per_row]),
        slot("zeros", DType::U8, &[layout.zero_bytes]),
        slot("f16", DType::F16, &[out, layout.f16_per_row]),
    ];
    slots.retain(|slot| !slot.shape.contains(&0));
    if linear.order == OrderHeader::Explicit {
        let dtype = channels_dtype(linear.in_features);
        slots.push(slot("channels", dtype, &[linear.in_features]));
    }
    Ok(slots)
}
