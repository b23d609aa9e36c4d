//! Every method on inputs that break careless arithmetic: finite output, or an error that names the layer where nothing can be
//! learned.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use rosaq_calib::{LayerStats, Requirements, StatsCollector, TokenWeighting};
use rosaq_learn::LearnOptions;
use rosaq_methods::{
    Basis, BlockBases, BlockInput, METHODS, Method, MethodError, MethodSettings, QuantPlan,
    QuantizedBlock, head_bases, learn_heads, quantize_block, residual_basis, residual_problems,
};
use rosaq_model::{
    ActivationObserver, ActivationSite, BlockRotations, BlockWeights, LINEAR_ROLES, LinearWeights,
    ModelConfig, Role, SITES,
};
use rosaq_rotate::random_orthogonal;
use rosaq_tensor::Matrix;

fn config() -> ModelConfig {
    let json = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":48,"intermediate_size":80,
        "num_hidden_layers":1,"num_attention_heads":6,"num_key_value_heads":2,"vocab_size":10}"#;
    ModelConfig::from_hf_json(json, "config.json".as_ref()).unwrap()
}

fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    }
}

fn block(config: &ModelConfig, scale: f32) -> BlockWeights {
    let mut next = noise(7);
    let mut linear = |role: Role| {
        let [out, channels] = config.linear_shape(role);
        let data = (0..out * channels).map(|_| next() * scale).collect();
        LinearWeights { weight: Matrix::new(out, channels, data), bias: None }
    };
    BlockWeights {
        attention_norm: vec![1.5; config.hidden_size],
        query: linear(Role::Query),
        key: linear(Role::Key),
        value: linear(Role::Value),
        output: linear(Role::Output),
        query_norm: None,
        key_norm: None,
        mlp_norm: vec![0.5; config.hidden_size],
        gate: linear(Role::Gate),
        up: linear(Role::Up),
        down: linear(Role::Down),
        rotations: BlockRotations::default(),
    }
}

/// Statistics of `tokens` rows, value `x(token, channel)` at every site.
fn statistics(config: &ModelConfig, tokens: usize, x: impl Fn(usize, usize) -> f32) -> LayerStats {
    let mut collector = StatsCollector::new(config, Requirements::ALL, TokenWeighting::Equal);
    for site in SITES {
        let channels = match site {
            ActivationSite::DownInput => config.intermediate_size,
            _ => config.hidden_size,
        };
        let rows: Vec<f32> =
            (0..tokens * channels).map(|i| x(i / channels, i % channels)).collect();
        collector.observe(site, tokens, &rows);
    }
    collector.finish()
}

fn quantize(
    method: &dyn Method,
    config: &ModelConfig,
    stats: &LayerStats,
    block: &BlockWeights,
) -> Result<QuantizedBlock, MethodError> {
    let plan = method.plan(config, &MethodSettings::new(3, 16).unwrap())?;
    let options = LearnOptions { n_steps: 3, ..LearnOptions::default() };
    let basis = |site| match plan.residual.map(|r| r.basis) {
        Some(Basis::Eigen(first)) => {
            residual_basis(stats.gram(site).unwrap().view(), first, 0, site)
        }
        _ => Ok(random_orthogonal(config.hidden_size, 1)),
    };
    let attention = basis(ActivationSite::AttentionInput)?;
    let bases = BlockBases { mlp: attention.clone(), next: attention.clone(), attention };
    let input =
        BlockInput { config, layer: 0, stats: Some(stats), bases: Some(&bases), heads: None };
    let heads = match plan.heads.map(|h| h.basis) {
        None => None,
        Some(Basis::Eigen(first)) => Some(head_bases(config, stats, first, 0)?),
        Some(Basis::Hadamard { .. }) => {
            learnable(&plan, stats, block)?;
            let starts = (0..2).map(|seed| random_orthogonal(config.head_dim, seed)).collect();
            Some(learn_heads(&plan, input, block.clone(), starts, &options)?)
        }
    };
    quantize_block(&plan, BlockInput { heads: heads.as_deref(), ..input }, block.clone())
}

fn learnable(
    plan: &QuantPlan,
    stats: &LayerStats,
    block: &BlockWeights,
) -> Result<(), MethodError> {
    residual_problems(plan, 0, stats, block.clone()).map(drop)
}

#[track_caller]
fn check(name: &str, stats: impl Fn(&ModelConfig) -> LayerStats, weight_scale: f32) {
    let config = config();
    let (stats, block) = (stats(&config), block(&config, weight_scale));
    for method in METHODS {
        let quantized = match quantize(*method, &config, &stats, &block) {
            Ok(quantized) => quantized.block,
            Err(error) => {
                // Nothing can be learned from silence; everything else can be done.
                let silent = matches!(&error, MethodError::Learning { layer: 0, .. });
                assert!(silent && name == "all zero", "{name}, {}: {error}", method.name());
                continue;
            }
        };
        for role in LINEAR_ROLES {
            let packed = &quantized.linear(role).weight;
            let mut values = vec![0.0; packed.out_features * packed.in_features];
            packed.dequantize_rows_into(0..packed.out_features, &mut values);
            let finite = values.iter().all(|v| v.is_finite());
            assert!(finite, "{name}, {}: {role} is not finite", method.name());
        }
    }
}

#[test]
fn one_direction_only() {
    check("rank 1", |c| statistics(c, 64, |t, i| ((t + 1) as f32) * ((i % 5) as f32 - 1.5)), 0.1);
}

#[test]
fn silent_channels() {
    check(
        "zero channels",
        |c| {
            statistics(
                c,
                64,
                |t, i| if i % 3 == 0 { 0.0 } else { ((t * 31 + i * 7) % 13) as f32 - 6.0 },
            )
        },
        0.1,
    );
    check("all zero", |c| statistics(c, 64, |_, _| 0.0), 0.1);
}

#[test]
fn duplicated_tokens() {
    check("one token 64 times", |c| statistics(c, 64, |_, i| (i as f32).sin()), 0.1);
}

#[test]
fn fewer_tokens_than_channels() {
    check("8 tokens", |c| statistics(c, 8, |t, i| ((t * 17 + i * 5) as f32).sin()), 0.1);
}

#[test]
fn tiny_and_huge_weights() {
    let ordinary = |c: &ModelConfig| statistics(c, 96, |t, i| ((t * 17 + i * 5) as f32).sin());
    check("weights of 1e-8", ordinary, 1e-8);
    check("weights of 1e4", ordinary, 1e4);
}

#[test]
fn a_sink_token() {
    check(
        "one token a thousand times as loud",
        |c| {
            statistics(c, 64, |t, i| {
                ((t * 17 + i * 5) as f32).sin() * if t == 0 { 1e4 } else { 1.0 }
            })
        },
        0.1,
    );
}
