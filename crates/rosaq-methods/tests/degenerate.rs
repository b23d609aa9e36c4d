//! Every method on inputs that break careless arithmetic: finite output, or an error that names the layer where nothing can be
//! learned.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use faer::Mat;
use rosaq_calib::{Collecting, LayerStats, Requirements, StatsCollector};
use rosaq_learn::{LearnOptions, learn};
use rosaq_methods::{
    Basis, BlockBases, BlockInput, HeadScope, METHODS, Method, MethodError, MethodSettings,
    OutputRotation, QuantPlan, QuantizedBlock, find, head_bases, learn_heads, quantize_block,
    residual_basis, residual_problems,
};
use rosaq_model::{
    ActivationObserver, ActivationSite, BlockRotations, BlockWeights, LINEAR_ROLES, LinearWeights,
    ModelConfig, Role, SITES,
};
use rosaq_rotate::{Placement, random_orthogonal};
use rosaq_saliency::SaliencyRule;
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
    let mut collector = StatsCollector::new(config, Requirements::ALL, Collecting::default());
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
    settings: &MethodSettings,
    config: &ModelConfig,
    stats: &LayerStats,
    block: &BlockWeights,
) -> Result<QuantizedBlock, MethodError> {
    let plan = method.plan(config, settings)?;
    let options = LearnOptions { n_steps: 3, ..LearnOptions::default() };
    let learned = match plan.residual.map(|r| r.basis) {
        Some(Basis::Hadamard { steps: 1.., .. }) => Some(learned(&plan, stats, block, &options)?),
        _ => None,
    };
    let basis = |site| match plan.residual.map(|r| r.basis) {
        Some(Basis::Eigen(first)) => {
            residual_basis(stats.gram(site).unwrap().view(), first, 0, site)
        }
        _ => Ok(learned.clone().unwrap_or_else(|| random_orthogonal(config.hidden_size, 1))),
    };
    let (attention, mlp) =
        (basis(ActivationSite::AttentionInput)?, basis(ActivationSite::MlpInput)?);
    // Where one basis serves all, the stream is turned by it alone.
    let absorbed = plan.residual.is_some_and(|r| r.placement == Placement::Absorbed);
    let mlp = if absorbed { attention.clone() } else { mlp };
    let bases = BlockBases { mlp, next: attention.clone(), attention };
    let input = BlockInput {
        config,
        layer: 0,
        stats: Some(stats),
        bases: Some(&bases),
        heads: None,
        fisher: None,
    };
    let heads = match plan.heads.map(|h| (h.basis, h.scope)) {
        None => None,
        Some((Basis::Eigen(first), HeadScope::AllHeads)) => {
            let site = ActivationSite::HeadsOutput;
            Some(vec![residual_basis(stats.gram(site).unwrap().view(), first, 0, site)?])
        }
        Some((Basis::Eigen(first), _)) => Some(head_bases(config, stats, first, 0)?),
        Some((Basis::Hadamard { steps, .. }, _)) => {
            let starts = (0..2).map(|seed| random_orthogonal(config.head_dim, seed)).collect();
            Some(match steps {
                0 => starts,
                _ => learn_heads(&plan, input, block.clone(), starts, &options)?,
            })
        }
    };
    quantize_block(&plan, BlockInput { heads: heads.as_deref(), ..input }, block.clone())
}

/// A rotation of the residual learned on this block alone.
fn learned(
    plan: &QuantPlan,
    stats: &LayerStats,
    block: &BlockWeights,
    options: &LearnOptions,
) -> Result<Mat<f64>, MethodError> {
    let problems = residual_problems(plan, 0, stats, block.clone())?;
    let n = block.attention_norm.len();
    let found = learn(random_orthogonal(n, 1), &problems[..], options, &mut |_, _| {})
        .map_err(|source| MethodError::Learning { layer: 0, source })?;
    let defect = found.rotation.transpose() * &found.rotation - Mat::<f64>::identity(n, n);
    assert!(defect.norm_max() < 1e-5 && found.loss_after <= found.loss_before);
    Ok(found.rotation)
}

/// Settings of every kind that a method may or may not heed.
fn settings() -> Vec<MethodSettings> {
    let plain = || MethodSettings::new(3, 16).unwrap();
    let with = |change: fn(&mut MethodSettings)| {
        let mut settings = plain();
        change(&mut settings);
        settings
    };
    vec![
        plain(),
        MethodSettings::new(2, 7).unwrap(), // groups that end short
        MethodSettings::new(8, 200).unwrap(),
        with(|s| s.act_order = true),
        with(|s| s.scale_steps = Some(4)),
        with(|s| s.placement = Some(Placement::Online)),
        with(|s| s.placement = Some(Placement::Shortcut)),
        with(|s| s.saliency = SaliencyRule::Bottom),
        with(|s| s.output_rotation = OutputRotation::Global),
        with(|s| s.output_rotation = OutputRotation::None),
    ]
}

#[track_caller]
fn check(name: &str, stats: impl Fn(&ModelConfig) -> LayerStats, weight_scale: f32) {
    let config = config();
    let (stats, block) = (stats(&config), block(&config, weight_scale));
    for method in METHODS {
        for settings in settings() {
            check_one(name, *method, &settings, &config, &stats, &block);
        }
    }
}

#[track_caller]
fn check_one(
    name: &str,
    method: &dyn Method,
    settings: &MethodSettings,
    config: &ModelConfig,
    stats: &LayerStats,
    block: &BlockWeights,
) {
    let name = format!("{name}, {}, {settings:?}", method.name());
    let quantized = match quantize(method, settings, config, stats, block) {
        Ok(quantized) => quantized.block,
        // A setting that the method refuses whatever the numbers.
        Err(MethodError::Setting { .. }) if settings.placement.is_some() => return,
        Err(error) => {
            // Nothing can be learned from silence; everything else can be done.
            let silent = matches!(&error, MethodError::Learning { layer: 0, .. });
            assert!(silent && name.starts_with("all zero"), "{name}: {error}");
            return;
        }
    };
    for role in LINEAR_ROLES {
        let packed = &quantized.linear(role).weight;
        let mut values = vec![0.0; packed.out_features * packed.in_features];
        packed.dequantize_rows_into(0..packed.out_features, &mut values);
        let finite = values.iter().all(|v| v.is_finite());
        assert!(finite, "{name}: {role} is not finite");
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

/// Channels of one magnitude leave AWQ nothing to scale whatever the exponent, as alpha 0 does everywhere.
#[test]
fn awq_without_scales_and_clipping_is_rtn() {
    let config = config();
    let signs = |t: usize, i: usize| if (t * 7 + i * i * 3 + t * i) % 5 < 2 { 1.0 } else { -1.0 };
    let stats = statistics(&config, 64, signs);
    let mut block = block(&config, 0.1);
    block.attention_norm.fill(1.0);
    block.mlp_norm.fill(1.0);
    let [awq, rtn] = ["awq", "rtn"].map(|name| {
        let mut plan =
            find(name).unwrap().plan(&config, &MethodSettings::new(3, 16).unwrap()).unwrap();
        assert_eq!(plan.scaled, [name == "awq"; 4]);
        plan.linears.iter_mut().flatten().for_each(|linear| linear.clip = None);
        let input = BlockInput {
            config: &config,
            layer: 0,
            stats: Some(&stats),
            bases: None,
            heads: None,
            fisher: None,
        };
        quantize_block(&plan, input, block.clone()).unwrap().block
    });
    for role in LINEAR_ROLES {
        assert!(awq.linear(role).weight == rtn.linear(role).weight, "{role}");
    }
}
