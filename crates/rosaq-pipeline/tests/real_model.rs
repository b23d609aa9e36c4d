//! SmolLM2-135M, whose odd shapes (9 heads, 3 value heads, hidden 576, tied embeddings) are what real models are like.
//!
//! Needs the environment variable `ROSAQ_REAL_MODEL` to name its GGUF file; says so and passes otherwise.
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod common;

use std::path::PathBuf;

use common::{distance, held_out, job, reference, run};
use rosaq_calib::{Collecting, Requirements, StatsCollector};
use rosaq_methods::{SalientFirst, residual_basis};
use rosaq_model::{ActivationSite, SourceModel};
use rosaq_pca::headwise_eigenbases;
use rosaq_pipeline::source_tokenizer;
use rosaq_rotate::{Placement, ResidualBases, rotate_block, rotate_ends, rotate_value_heads};
use rosaq_runtime::{Batch, BlockContext, Blocks, LoadedBlock, Model, RopeTable, Workspace};
use rosaq_saliency::SaliencyRule;
use rosaq_text::AddSpecial;

fn real_model() -> Option<PathBuf> {
    let path = std::env::var_os("ROSAQ_REAL_MODEL").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: ROSAQ_REAL_MODEL does not name SmolLM2-135M's GGUF file");
    }
    path
}

/// Two passages with their ids as `transformers` gives them with the same vocabulary.
#[test]
fn the_rebuilt_tokenizer_gives_the_known_ids() {
    let Some(path) = real_model() else { return };
    let tokenizer = source_tokenizer(&SourceModel::open(&path).unwrap()).unwrap();
    let ids = |text: &str| tokenizer.encode(text, AddSpecial::No).unwrap();
    let article = "\n\n = Robert Boulter = \n\n\n\n\n Robert Boulter is an English";
    let known =
        [1116, 446, 6356, 389, 9226, 352, 446, 38028, 16506, 6356, 389, 9226, 352, 314, 354, 2321];
    assert_eq!(ids(article)[..known.len()], known);
    assert_eq!(tokenizer.decode(&ids("rosaq, 2026: ünïcode")).unwrap(), "rosaq, 2026: ünïcode");
}

#[test]
fn fewer_bits_cost_more_and_the_packed_path_is_what_is_measured() {
    let Some(path) = real_model() else { return };
    let dir = tempfile::tempdir().unwrap();
    let reference = reference(&path, &held_out(256, Some(8)));
    let measure = |method: &str, bits| {
        let mut job = job(&path, method, bits, &dir.path().join(format!("{method}{bits}")));
        job.calibration.sequences = rosaq_pipeline::Amount::Exactly(8);
        run(&job, &reference)
    };
    let (fp16, rtn, rosaq) = (measure("fp16", 4), measure("rtn", 4), measure("rosaq", 4));
    let kl = |r: &(_, rosaq_pipeline::Evaluation)| r.1.kl.unwrap();
    assert!(kl(&fp16) < 1e-6, "f16 is what the source holds: KL {}", kl(&fp16));
    assert!(kl(&rosaq) < 0.75 * kl(&rtn), "rtn {}, rosaq {}", kl(&rtn), kl(&rosaq));
    assert!((rtn.0.weight_bits - 4.1693).abs() < 1e-4);
    assert!((rosaq.0.weight_bits - 4.4362).abs() < 1e-4);
    eprintln!("KL: rtn {:.4}, rosaq (absorbed) {:.4}", kl(&rtn), kl(&rosaq));
}

/// The model rotated into its own eigenbases, dense.
fn rotated(source: &SourceModel, ids: &[u32], placement: Placement) -> Model {
    let config = source.config().clone();
    let rope = RopeTable::new(&config, ids.len());
    let mut hidden = source.embed(ids).unwrap().data;
    let mut stats = Vec::new();
    for layer in 0..config.n_layers {
        let mut collector = StatsCollector::new(&config, Requirements::ALL, Collecting::default());
        let block = source.load_block(layer).unwrap();
        let batch = Batch { lengths: &[ids.len()], parents: &[] };
        let context = BlockContext { config: &config, rope: &rope, batch };
        let workspace = &mut Workspace::default();
        LoadedBlock::Dense(&block).forward(
            context,
            &mut hidden,
            &mut [],
            &mut collector,
            workspace,
        );
        stats.push(collector.finish());
    }
    let first = SalientFirst { rule: SaliencyRule::Top, salient: 16 };
    let basis = |layer: usize, site| {
        let gram = stats[layer].gram(site).unwrap();
        residual_basis(gram.view(), first, layer, site).unwrap()
    };
    let (attention, mlp) = (ActivationSite::AttentionInput, ActivationSite::MlpInput);
    let pooled = basis(config.n_layers / 2, attention);
    let at = |layer: usize, site| {
        if placement == Placement::Absorbed { pooled.clone() } else { basis(layer, site) }
    };
    let last = at(config.n_layers - 1, mlp);
    let mut blocks = Vec::new();
    for (layer, layer_stats) in stats.iter().enumerate() {
        let mut block = source.load_block(layer).unwrap();
        let next =
            if layer + 1 == config.n_layers { last.clone() } else { at(layer + 1, attention) };
        let (a, m) = (at(layer, attention), at(layer, mlp));
        let bases = ResidualBases { attention: a.as_ref(), mlp: m.as_ref(), next: next.as_ref() };
        rotate_block(&mut block, placement, &bases);
        let gram = layer_stats.gram(ActivationSite::HeadsOutput).unwrap();
        let heads =
            headwise_eigenbases(gram.view(), config.n_heads, config.n_kv_heads, config.head_dim)
                .unwrap();
        let heads: Vec<_> = heads.into_iter().map(|b| b.vectors).collect();
        rotate_value_heads(&mut block, &config, &heads);
        blocks.push(block);
    }
    let mut ends = source.load_ends().unwrap();
    rotate_ends(&mut ends, placement, at(0, attention).as_ref(), last.as_ref());
    Model::from_parts(config, ends, Blocks::Dense(blocks))
}

#[test]
fn rotations_into_its_own_eigenbases_leave_the_logits_as_they_are() {
    let Some(path) = real_model() else { return };
    let source = SourceModel::open(&path).unwrap();
    let tokenizer = source_tokenizer(&source).unwrap();
    let text = "The capital of France is Paris, and the river that runs through it is called the Seine. In 1889 \
                the tower was finished, three hundred metres tall; few liked it then, and fewer would miss it less \
                today. A good sentence has a beginning, a middle, and, if one is patient with it, also an end.";
    let ids = tokenizer.encode(text, AddSpecial::No).unwrap();
    let plain = Model::streamed(SourceModel::open(&path).unwrap()).unwrap().logits(&ids).unwrap();
    for placement in [Placement::Absorbed, Placement::Shortcut, Placement::Online] {
        let off = distance(&rotated(&source, &ids, placement).logits(&ids).unwrap(), &plain);
        eprintln!("{placement}: logits differ by {off:.2e} relative");
        assert!(off < 1e-3, "{placement}: {off:e}");
    }
}
