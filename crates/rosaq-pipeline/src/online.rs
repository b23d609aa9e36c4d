//! What a plan makes the model do at run time beside its linears.

use rosaq_methods::{HeadScope, QuantPlan};
use rosaq_model::ModelConfig;
use rosaq_rotate::Placement;

/// Operations a token of what a plan adds at run time: rotations that are not absorbed and transforms before `down`.
pub(crate) fn online_operations(config: &ModelConfig, plan: &QuantPlan) -> f64 {
    let square = |n: usize| 2.0 * (n * n) as f64;
    let residual = square(config.hidden_size);
    let placement = plan.residual.map(|r| r.placement);
    let of_block = match placement {
        None | Some(Placement::Absorbed) => 0.0,
        Some(Placement::Shortcut | Placement::Online) => 2.0 * residual,
    };
    let of_heads = match plan.heads.map(|heads| heads.scope) {
        Some(HeadScope::AllHeads) => square(config.n_heads * config.head_dim),
        Some(HeadScope::EachHead) | None => 0.0,
    };
    // A sum or difference for each channel and stage, and the scaling.
    let transforms = plan
        .down_hadamard
        .map_or(0.0, |points| (config.intermediate_size * (points.ilog2() as usize + 1)) as f64);
    let turned = matches!(placement, Some(Placement::Absorbed | Placement::Shortcut));
    let head = if config.tied_embeddings && turned { residual } else { 0.0 };
    config.n_layers as f64 * (of_block + of_heads + transforms) + head
}

/// Operations a token of the products with all linears and the head.
pub(crate) fn product_operations(config: &ModelConfig) -> f64 {
    2.0 * (config.quantizable_weights() + (config.vocab_size * config.hidden_size) as u64) as f64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rosaq_methods::{MethodSettings, find, plan};

    use super::*;

    #[test]
    fn transforms_and_the_head_of_a_shared_table_are_counted() {
        let json = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":576,"intermediate_size":1536,"vocab_size":49152,
            "num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,"tie_word_embeddings":true}"#;
        let config = ModelConfig::from_hf_json(json, Path::new("config.json")).unwrap();
        let settings = MethodSettings::new(4, 128).unwrap();
        let of = |method: &str| {
            let plan = plan(find(method).unwrap(), &config, &settings).unwrap();
            online_operations(&config, &plan)
        };
        assert_eq!(of("rtn"), 0.0);
        assert_eq!(of("spectral"), 30.0 * 1536.0 * 10.0 + 2.0 * 576.0 * 576.0);
        assert_eq!(product_operations(&config), 2.0 * (106_168_320.0 + 49_152.0 * 576.0));
    }
}
