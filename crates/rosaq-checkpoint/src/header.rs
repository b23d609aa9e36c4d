//! Names and small records of the format, version 1.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use rosaq_model::{LINEAR_ROLES, ModelConfig, Role};
use rosaq_pack::{ChannelOrder, Layout, LinearSpec, PackError, Segment};
use serde::{Deserialize, Serialize};

use crate::CheckpointError;

/// Version of everything in this crate; a reader refuses any other.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// `quant_method` of `quantization_config`.
pub(crate) const QUANT_METHOD: &str = "rosaq";
/// Key of `config.json` that holds [`crate::QuantizationConfig`].
pub(crate) const QUANTIZATION_KEY: &str = "quantization_config";
pub(crate) const CONFIG_FILE: &str = "config.json";
pub(crate) const INDEX_FILE: &str = "model.safetensors.index.json";

/// Keys of a shard's safetensors metadata.
pub(crate) mod metadata {
    /// Always `pt`: Hugging Face's readers ask for it.
    pub(crate) const FORMAT: (&str, &str) = ("format", "pt");
    /// The format's version.
    pub(crate) const VERSION: &str = "rosaq_version";
    /// Descriptions of the shard's linears by module, as JSON.
    pub(crate) const LINEARS: &str = "rosaq_linears";
    /// Digest of the codebooks the linears were packed with; absent if they use none.
    pub(crate) const CODEBOOKS: &str = "rosaq_codebooks";
    /// The Walsh-Hadamard transforms of the down input, their number `x` their points, or `none`. The product is the number
    /// of channels, so that an altered digit shows.
    pub(crate) const DOWN_HADAMARD: &str = "rosaq_down_hadamard";
    /// The seed of the residual's basis where a shared table's head needs it, a hyphen and the first digits of the seed's BLAKE3
    /// hash, so that an altered digit shows. The last norm then holds its gain in the model's own basis.
    pub(crate) const HEAD_BASIS: &str = "rosaq_head_basis";
    /// Before a tensor's name: its BLAKE3 checksum, 64 lowercase hexadecimal digits.
    pub(crate) const CHECKSUM_PREFIX: &str = "blake3:";
}

/// Matrices that a block may apply at run time, by name.
pub(crate) struct RotationNames {
    pub(crate) attention_input: String,
    pub(crate) mlp_input: String,
    pub(crate) heads_output: String,
    pub(crate) shortcut_attention: String,
    pub(crate) shortcut_mlp: String,
}

impl RotationNames {
    pub(crate) fn new(layer: usize) -> Self {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        Self {
            attention_input: name("self_attn.input_rotation"),
            mlp_input: name("mlp.input_rotation"),
            heads_output: name("self_attn.heads_rotation"),
            shortcut_attention: name("shortcut_attention"),
            shortcut_mlp: name("shortcut_mlp"),
        }
    }

    /// The names of square matrices with their orders.
    pub(crate) fn all(self, config: &ModelConfig) -> [(String, usize); 5] {
        let d = config.hidden_size;
        [
            (self.attention_input, d),
            (self.mlp_input, d),
            (self.shortcut_attention, d),
            (self.shortcut_mlp, d),
            (self.heads_output, config.n_heads * config.head_dim),
        ]
    }
}

/// A seed as it stands in the metadata.
pub(crate) fn seed_text(seed: u64) -> String {
    let hash = blake3::hash(&seed.to_le_bytes()).to_hex();
    format!("{seed}-{}", &hash[..8])
}

/// Matrix applied to the head's input.
pub(crate) const HEAD_INPUT: &str = "model.head_input.weight";

/// Table of levels number `id`.
pub(crate) fn codebook_name(id: usize) -> String {
    format!("rosaq.codebooks.{id}")
}

/// File of shard `shard_idx`: 0 holds the model's ends, `layer + 1` a block.
pub(crate) fn shard_name(shard_idx: usize, n_layers: usize) -> String {
    format!("model-{:05}-of-{:05}.safetensors", shard_idx + 1, n_layers + 1)
}

/// Name of the module whose weight plays `role`, to which names of parts are appended.
pub(crate) fn module_name(config: &ModelConfig, role: Role, layer: usize) -> String {
    let mut name = config.tensor_name(role, layer);
    if let Some(module) = name.strip_suffix(".weight") {
        name.truncate(module.len());
    }
    name
}

/// Description of a linear as it is stored: a [`LinearSpec`] whose explicit order stands in a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinearHeader {
    pub(crate) out_features: usize,
    pub(crate) in_features: usize,
    pub(crate) segments: Vec<Segment>,
    #[serde(default)]
    pub(crate) order: OrderHeader,
}

/// A [`ChannelOrder`] without its permutation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderHeader {
    #[default]
    Identity,
    PerHead {
        n_heads: usize,
        head_dim: usize,
        salient: usize,
    },
    Explicit,
}

impl LinearHeader {
    pub(crate) fn of(spec: &LinearSpec) -> Self {
        let order = match spec.order {
            ChannelOrder::Identity => OrderHeader::Identity,
            ChannelOrder::PerHead { n_heads, head_dim, salient } => {
                OrderHeader::PerHead { n_heads, head_dim, salient }
            }
            ChannelOrder::Explicit(_) => OrderHeader::Explicit,
        };
        Self {
            out_features: spec.out_features,
            in_features: spec.in_features,
            segments: spec.segments.clone(),
            order,
        }
    }

    /// The description with the permutation put back, which is used by an explicit order alone.
    pub(crate) fn to_spec(&self, permutation: Vec<u32>) -> LinearSpec {
        let order = match self.order {
            OrderHeader::Identity => ChannelOrder::Identity,
            OrderHeader::PerHead { n_heads, head_dim, salient } => {
                ChannelOrder::PerHead { n_heads, head_dim, salient }
            }
            OrderHeader::Explicit => ChannelOrder::Explicit(permutation),
        };
        LinearSpec {
            out_features: self.out_features,
            in_features: self.in_features,
            segments: self.segments.clone(),
            order,
        }
    }

    pub(crate) fn layout(&self) -> Result<Layout, PackError> {
        Layout::new(self.out_features, self.in_features, &self.segments)
    }

    pub(crate) fn uses_codebooks(&self) -> bool {
        self.segments.iter().any(|segment| segment.kind.table().is_some())
    }

    /// Information bits of the linear, as `PackedLinear::weight_bits` counts them.
    pub(crate) fn weight_bits(&self) -> u64 {
        let per_row: u64 = self.segments.iter().map(Segment::weight_bits_per_row).sum();
        per_row * self.out_features as u64
    }
}

/// The roles of the tables that a model's ends hold.
pub(crate) fn table_roles(config: &ModelConfig) -> impl Iterator<Item = Role> {
    let roles = [Some(Role::Embedding), (!config.tied_embeddings).then_some(Role::Head)];
    roles.into_iter().flatten()
}

/// Demands that `tables` describes tables that the model has, in their shapes.
pub(crate) fn check_tables(
    path: &Path,
    config: &ModelConfig,
    tables: &BTreeMap<String, LinearHeader>,
) -> Result<(), CheckpointError> {
    for (module, table) in tables {
        let (path, module) = (path.to_owned(), module.clone());
        let mut roles = table_roles(config);
        let Some(role) = roles.find(|&role| module_name(config, role, 0) == module) else {
            return Err(CheckpointError::UnknownLinear { path, module });
        };
        let expected = config.linear_shape(role);
        let found = [table.out_features, table.in_features];
        if expected != found {
            return Err(CheckpointError::LinearShape { path, module, expected, found });
        }
    }
    Ok(())
}

/// Demands that `linears` describes exactly the linears of block `layer`, in their shapes.
pub(crate) fn check_block_linears(
    path: &Path,
    config: &ModelConfig,
    layer: usize,
    linears: &BTreeMap<String, LinearHeader>,
) -> Result<(), CheckpointError> {
    let modules = LINEAR_ROLES.map(|role| module_name(config, role, layer));
    for (role, module) in LINEAR_ROLES.into_iter().zip(&modules) {
        let path = path.to_owned();
        let Some(linear) = linears.get(module) else {
            return Err(CheckpointError::MissingLinear { path, module: module.clone() });
        };
        let expected = config.linear_shape(role);
        let found = [linear.out_features, linear.in_features];
        if expected != found {
            let module = module.clone();
            return Err(CheckpointError::LinearShape { path, module, expected, found });
        }
    }
    match linears.keys().find(|module| !modules.contains(module)) {
        Some(module) => {
            Err(CheckpointError::UnknownLinear { path: path.to_owned(), module: module.clone() })
        }
        None => Ok(()),
    }
}

/// BLAKE3 of codebooks and their lengths, to tell one set from another.
pub(crate) fn codebooks_digest(codebooks: &[Vec<f16>]) -> String {
    let mut hasher = blake3::Hasher::new();
    for levels in codebooks {
        hasher.update(&(levels.len() as u64).to_le_bytes());
        levels.iter().for_each(|level| {
            hasher.update(&level.to_le_bytes());
        });
    }
    hasher.finalize().to_hex().to_string()
}
