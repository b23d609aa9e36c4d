//! How embeddings and head are stored.

use rosaq_model::{ModelConfig, ModelEnds, Role};
use rosaq_pack::{Bits, ChannelOrder, PackedLinear, Segment};
use rosaq_quant::pack_nearest;
use rosaq_tensor::Matrix;

use crate::PipelineError;

/// The numbers that embeddings and head are kept in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TableWidth {
    /// f16, as they usually come.
    #[default]
    F16,
    /// Eight-bit integers around zero, rounded to nearest in groups of 128.
    Int8,
}

/// Channels of a group.
const GROUP: usize = 128;

impl TableWidth {
    /// The word of the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    fn segment(self, channels: usize) -> Segment {
        match self {
            Self::F16 => Segment::f16(channels),
            Self::Int8 => Segment::symmetric(channels, Bits::EIGHT, GROUP),
        }
    }

    /// Bytes of all tables of a model.
    pub(crate) fn bytes(self, config: &ModelConfig) -> u64 {
        let tables = if config.tied_embeddings { 1 } else { 2 };
        let row = match self {
            Self::F16 => 2 * config.hidden_size,
            Self::Int8 => config.hidden_size + 2 * config.hidden_size.div_ceil(GROUP),
        };
        tables * (config.vocab_size * row) as u64
    }

    /// Packs the tables.
    pub(crate) fn pack(
        self,
        config: &ModelConfig,
        ends: ModelEnds,
    ) -> Result<ModelEnds<PackedLinear>, PipelineError> {
        ends.try_map(|role: Role, table: Matrix| {
            let segments = [self.segment(table.cols)];
            pack_nearest(&table, &segments, ChannelOrder::Identity).map_err(|source| {
                PipelineError::Table { tensor: config.tensor_name(role, 0), source }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn sizes_are_those_of_what_is_packed_and_errors_name_the_tensor() {
        let json = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":136,"intermediate_size":64,"vocab_size":10,
            "num_hidden_layers":1,"num_attention_heads":8,"num_key_value_heads":2,"head_dim":16}"#;
        let config = ModelConfig::from_hf_json(json, Path::new("config.json")).unwrap();
        let table = || Matrix { rows: 10, cols: 136, data: (0..1360).map(|i| i as f32).collect() };
        let mut ends = ModelEnds {
            embedding: table(),
            final_norm: vec![1.0; 136],
            head_input: None,
            head_basis: None,
            head: Some(table()),
        };
        assert!(!config.tied_embeddings);
        for width in [TableWidth::F16, TableWidth::Int8] {
            let packed = width.pack(&config, ends.clone()).unwrap();
            let bytes = packed.embedding.stored_bytes() + packed.head.unwrap().stored_bytes();
            assert_eq!(width.bytes(&config), bytes as u64, "{width:?}");
        }
        ends.embedding.data[7] = 1e6;
        let error = TableWidth::F16.pack(&config, ends).unwrap_err().to_string();
        assert!(error.contains("embed_tokens") && error.contains("f16"), "{error}");
    }
}
