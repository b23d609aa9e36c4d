//! A made-up report of realistic size: 30 layers, 7 roles, smooth curves with some noise.

use rosaq_report::{
    ComparisonRow, LinearError, Magnitudes, ModelFacts, Report, RoleBits, Spectrum, Stage, Summary,
    TaskAccuracy,
};

const ROLES: [(&str, u64, f64); 7] = [
    ("query", 331_776, 0.071),
    ("key", 110_592, 0.062),
    ("value", 110_592, 0.118),
    ("output", 331_776, 0.094),
    ("gate", 884_736, 0.083),
    ("up", 884_736, 0.101),
    ("down", 884_736, 0.126),
];
const N_LAYERS: usize = 30;

/// The whole report, every section filled.
pub(crate) fn report() -> Report {
    Report {
        title: "SmolLM2-135M, ROSAQ at INT4".to_owned(),
        generated_by: "rosaq 0.1.0".to_owned(),
        command: Some(
            "cargo xtask quantize --model models/SmolLM2-135M --bits 4 --group-size 128 --calib calib.jsonl --text \
             wiki.test.raw --out out/smollm2-int4"
                .to_owned(),
        ),
        model: model(),
        settings: settings(),
        summary: summary(),
        stages: stages(),
        roles: ROLES
            .iter()
            .map(|(role, weights, error)| RoleBits {
                role: (*role).to_owned(),
                weights: weights * N_LAYERS as u64,
                bits_per_weight: 4.2 + 3.0 * error,
            })
            .collect(),
        errors: errors(),
        spectra: spectra(),
        magnitudes: magnitudes(),
        comparison: comparison(),
        notes: vec![
            "The weights of this file lie on a 4-bit grid, which flatters methods that do not rotate.".to_owned(),
            "All numbers of this sample are made up.".to_owned(),
        ],
    }
}

fn model() -> ModelFacts {
    ModelFacts {
        name: "SmolLM2-135M".to_owned(),
        base_model: Some("HuggingFaceTB/SmolLM2-135M".to_owned()),
        family: Some("llama".to_owned()),
        parameters: Some(134_515_008),
        hidden_size: Some(576),
        n_layers: Some(N_LAYERS),
        n_heads: Some(9),
        n_kv_heads: Some(3),
        head_dim: Some(64),
        intermediate_size: Some(1536),
        vocab_size: Some(49_152),
        tied_embeddings: Some(true),
    }
}

fn settings() -> Vec<(String, String)> {
    [
        ("method", "rosaq"),
        ("bits", "4"),
        ("group size", "128"),
        ("placement", "absorbed"),
        ("saliency rule", "top"),
        ("salient channels", "18 of 576, 2 per head"),
        ("calibration set", "calib.jsonl, 128 windows of 512 tokens"),
        ("seed", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn summary() -> Summary {
    Summary {
        method: "rosaq (absorbed)".to_owned(),
        bits_per_weight: Some(4.4521),
        weight_bits: Some(4.4360),
        total_bytes: Some(116_412_416),
        source_bytes: Some(269_030_016),
        perplexity_fp16: Some(29.937),
        perplexity_quantized: Some(36.007),
        kl: Some(0.1803),
        kl_stderr: Some(0.0021),
        text: Some("wiki.test.raw".to_owned()),
        context: Some(512),
        tokens: Some(32_704),
        ..Summary::default()
    }
}

fn stages() -> Vec<Stage> {
    [
        ("read and fuse norms", 0.81, 1.2, 402_000_000),
        ("calibration forward pass", 92.4, 181.0, 913_000_000),
        ("eigenbases", 14.2, 27.3, 913_000_000),
        ("rotate, quantize, pack", 188.0, 371.5, 1_020_000_000),
        ("verify and evaluate", 64.1, 127.9, 1_020_000_000),
    ]
    .map(|(name, wall_seconds, cpu_seconds, peak)| Stage {
        name: name.to_owned(),
        wall_seconds,
        cpu_seconds,
        peak_rss_bytes: Some(peak),
    })
    .to_vec()
}

fn errors() -> Vec<LinearError> {
    let mut noise = Noise(7);
    let mut errors = Vec::new();
    for layer in 0..N_LAYERS {
        for (role, _, base) in ROLES {
            let depth = 0.6 + layer as f64 / 40.0 + if layer == 0 { 1.4 } else { 0.0 };
            let relative = base * depth * (0.85 + 0.3 * noise.next());
            errors.push(LinearError { layer, role: role.to_owned(), relative });
        }
    }
    errors
}

const SITES: [(&str, usize, usize); 4] = [
    ("attention_input", 576, 18),
    ("heads_output", 576, 18),
    ("mlp_input", 576, 18),
    ("down_input", 1536, 48),
];

fn spectra() -> Vec<Spectrum> {
    let mut noise = Noise(11);
    let mut decay = 1.2;
    let mut spectra = Vec::new();
    for layer in [0, 15, 29] {
        for (site, n, salient) in SITES {
            decay += 0.07;
            let tokens = 65_536;
            let value = |i: usize, wobble: f64| {
                let i = i as f64;
                let tail = (-4.5 * i / n as f64).exp();
                tokens as f64 * (60.0 / (1.0 + i).powf(decay) + 0.4 * tail) * (1.0 + 0.01 * wobble)
            };
            let mut eigenvalues: Vec<f64> = (0..n).map(|i| value(i, noise.next())).collect();
            eigenvalues.sort_by(|a, b| b.total_cmp(a));
            spectra.push(Spectrum { layer, site: site.to_owned(), eigenvalues, salient, tokens });
        }
    }
    spectra
}

#[expect(clippy::cast_possible_truncation, reason = "made up in any case")]
fn magnitudes() -> Vec<Magnitudes> {
    let mut noise = Noise(13);
    let mut all = Vec::new();
    for layer in [0, 15, 29] {
        let (site, n, salient) = SITES[0];
        let spike = |i: usize| if i % 97 == 31 { 14.0 } else { 1.0 };
        let before =
            (0..n).map(|i| (spike(i) * (0.15 + 0.9 * noise.next().powi(2))) as f32).collect();
        let after = (0..n)
            .map(|i| {
                ((7.0 / (1.0 + i as f64).powf(0.8) + 0.12) * (0.8 + 0.4 * noise.next())) as f32
            })
            .collect();
        let measure = "mean |x|".to_owned();
        all.push(Magnitudes { layer, site: site.to_owned(), measure, before, after, salient });
    }
    all
}

#[expect(clippy::cast_possible_truncation, reason = "whole bytes")]
fn comparison() -> Vec<ComparisonRow> {
    let rows = [
        ("fp16", None, None, 16.0, 29.937, 0.0),
        ("mixed", Some(4.0), None, 4.440, 35.130, 0.1521),
        ("rosaq", Some(4.0), Some("rotation absorbed"), 4.452, 36.007, 0.1803),
        ("rosaq", Some(4.0), Some("rotation online, preset paper"), 7.441, 36.007, 0.1798),
        ("rtn", Some(4.0), None, 4.174, 39.714, 0.3814),
        ("mixed", Some(3.0), None, 3.471, 55.310, 0.6120),
        ("rosaq", Some(3.0), Some("rotation absorbed"), 3.483, 52.870, 0.5740),
        ("rtn", Some(3.0), None, 3.163, 148.544, 1.6415),
        ("rosaq", Some(8.0), Some("rotation absorbed"), 8.230, 29.990, 0.0011),
    ];
    rows.map(|(method, bits, settings, bits_per_weight, perplexity, kl)| ComparisonRow {
        method: method.to_owned(),
        bits,
        group_size: bits.map(|_| 128),
        settings: settings.map(str::to_owned),
        bits_per_weight,
        weight_bits: Some(if bits.is_some() { bits_per_weight - 0.01 } else { 16.0 }),
        total_bytes: Some((bits_per_weight * 13_272_000.0 + 56_600_000.0) as u64),
        perplexity: Some(perplexity),
        kl: Some(kl),
        kl_stderr: Some(0.012 * kl),
        cpu_seconds: bits.map(|b| 180.0 + 70.0 * b),
        peak_rss_bytes: bits.map(|_| 1_020_000_000),
        tasks: tasks(kl),
    })
    .to_vec()
}

/// Accuracies that fall as `kl` grows.
fn tasks(kl: f64) -> Vec<TaskAccuracy> {
    let task = |name: &str, metric: Option<&str>, rows, share, stderr| TaskAccuracy {
        name: name.to_owned(),
        metric: metric.map(str::to_owned),
        rows,
        share,
        stderr,
    };
    let share = |best: f64| 0.25 + (best - 0.25) / (1.0 + kl);
    vec![
        task("piqa", Some("acc_norm"), 1838, share(0.68), Some(0.0109)),
        task("winogrande", Some("acc"), 1267, share(0.52), Some(0.0140)),
        task("average", None, 3105, share(0.6), None),
        task("STEM", Some("acc"), 3153, share(0.27), Some(0.0079)),
        task("mmlu", Some("acc"), 14_042, share(0.28), Some(0.0038)),
    ]
}

/// Numbers from 0 to 1 that look random and are the same in every run (Numerical Recipes' linear congruence).
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.0) / f64::from(u32::MAX)
    }
}
