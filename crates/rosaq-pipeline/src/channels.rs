//! Channels of one activation site before and after the rotation into their eigenbasis: table 8 and figure 2 of the ROSAQ paper.

use faer::{Mat, MatRef};
use rosaq_model::{ActivationObserver, ActivationSite, SourceModel};
use rosaq_pca::eigenbasis;
use rosaq_report::{Magnitudes, magnitude_svg};
use rosaq_runtime::{LayerPass, LoadedBlock, RopeTable};
use serde::Serialize;

use crate::tokens::source_tokenizer;
use crate::{CalibrationSet, PipelineError, Progress};

/// One channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Channel {
    /// Its index: in the model's basis, or by descending eigenvalue.
    pub index: usize,
    /// Mean |x| over the tokens.
    pub magnitude: f64,
    /// Sum of x² over the tokens: after rotation, the eigenvalue.
    pub energy: f64,
}

/// The channels of a site on a sample of tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SiteChannels {
    /// The block.
    pub layer: usize,
    /// The activation site.
    pub site: String,
    /// Tokens of the sample.
    pub tokens: usize,
    /// In the model's own basis.
    pub original: Vec<Channel>,
    /// In the eigenbasis of these tokens, by descending eigenvalue.
    pub rotated: Vec<Channel>,
}

impl SiteChannels {
    /// The `n` channels of largest mean magnitude of either basis.
    #[must_use]
    pub fn top(&self, n: usize) -> [Vec<Channel>; 2] {
        [&self.original, &self.rotated].map(|channels| {
            let mut sorted = channels.clone();
            sorted.sort_by(|a, b| b.magnitude.total_cmp(&a.magnitude));
            sorted.truncate(n);
            sorted
        })
    }

    /// Mean magnitude of every channel before and after, as an SVG document, with `salient` channels marked.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "figures for people")]
    pub fn svg(&self, salient: usize) -> String {
        let values = |channels: &[Channel]| channels.iter().map(|c| c.magnitude as f32).collect();
        magnitude_svg(&Magnitudes {
            layer: self.layer,
            site: self.site.clone(),
            measure: "mean |x|".to_owned(),
            before: values(&self.original),
            after: values(&self.rotated),
            salient,
        })
    }
}

/// Runs the calibration text through the model up to block `layer` and looks at the input of its attention.
///
/// # Errors
/// Models and texts that cannot be read, a layer that is not there, inputs without an eigenbasis.
pub fn attention_channels(
    source: &SourceModel,
    sample: &CalibrationSet,
    layer: usize,
    progress: Progress,
) -> Result<SiteChannels, PipelineError> {
    let config = source.config();
    if layer >= config.n_layers {
        return Err(PipelineError::NoSuchLayer { layer, n_layers: config.n_layers });
    }
    let windows = sample.windows(&source_tokenizer(source)?)?;
    let lengths = vec![windows.context(); windows.len()];
    let rope = RopeTable::new(config, windows.context());
    let mut hidden = source.embed(windows.tokens())?.data;
    let site = ActivationSite::AttentionInput;
    let mut capture = Capture { site, rows: Vec::new() };
    let stage = progress.stage("sample");
    for idx in 0..=layer {
        let block = LoadedBlock::Owned(Box::new(source.load_block(idx)?));
        capture.rows.clear();
        let pass = LayerPass { config, rope: &rope, layer: idx };
        pass.run(&block, &lengths, &mut hidden, &mut capture, &|_| Ok(()))?;
        stage.set((idx + 1) as f64 / (layer + 1) as f64);
    }
    stage.finish();
    let (tokens, d) = (windows.tokens().len(), config.hidden_size);
    let x = MatRef::from_row_major_slice(&capture.rows, tokens, d);
    let x = Mat::from_fn(tokens, d, |t, i| f64::from(x[(t, i)]));
    let basis = eigenbasis((x.transpose() * &x).as_ref())
        .map_err(|source| rosaq_methods::MethodError::Basis { layer, site: site.word(), source })?;
    let turned = &x * &basis.vectors;
    Ok(SiteChannels {
        layer,
        site: site.word().to_owned(),
        tokens,
        original: channels(x.as_ref()),
        rotated: channels(turned.as_ref()),
    })
}

fn channels(x: MatRef<'_, f64>) -> Vec<Channel> {
    let of_channel = |index: usize| {
        let column = x.col(index);
        let (mut magnitude, mut energy) = (0.0, 0.0);
        for value in column.iter() {
            magnitude += value.abs();
            energy += value * value;
        }
        Channel { index, magnitude: magnitude / x.nrows().max(1) as f64, energy }
    };
    (0..x.ncols()).map(of_channel).collect()
}

/// Keeps what enters one site.
struct Capture {
    site: ActivationSite,
    rows: Vec<f32>,
}

impl ActivationObserver for Capture {
    fn observe(&mut self, site: ActivationSite, _tokens: usize, x: &[f32]) {
        if site == self.site {
            self.rows.extend_from_slice(x);
        }
    }
}
