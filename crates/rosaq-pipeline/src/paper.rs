//! Values that the ROSAQ paper prints, to stand beside ours.
//!
//! `paper.json` holds only what could be confirmed from a source; what is not there is absent, never estimated. Facts of the
//! paper's 7B models say nothing of another model but in which direction to look.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// What is known of the paper's tables.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paper {
    /// The paper.
    pub source: String,
    /// Channels that it keeps in f16 at linears that read the residual (appendix G).
    pub salient: usize,
    /// The same of each head at the output projection.
    pub salient_per_head: usize,
    /// Channels that share a scale.
    pub group_size: usize,
    /// Single figures.
    pub values: Vec<PaperValue>,
    /// Rows of the table of channels.
    pub channels: Vec<PaperChannel>,
}

/// A figure of one of the paper's tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperValue {
    /// The table; absent where the figure is the model's own, as of FP16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The model.
    pub model: String,
    /// The method, by our name.
    pub method: String,
    /// What sets a row of an ablation apart, by the name of our row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Code width; absent for FP16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u8>,
    /// Channels that share a scale; absent for FP16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_size: Option<usize>,
    /// `perplexity` on WikiText-2 (windows of 2,048 tokens); `tokens/s, B x N`, the throughput of B sequences with N tokens of context and
    /// N generated on an RTX A6000; else a task whose accuracy is meant, in percent.
    pub metric: String,
    /// The figure.
    pub value: f64,
}

/// A row of the paper's table of channels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaperChannel {
    /// Mean magnitude.
    pub magnitude: f64,
    /// Eigenvalue.
    pub eigenvalue: f64,
    /// Tokens.
    pub tokens: usize,
}

impl PaperChannel {
    /// The largest mean magnitude that a direction of this eigenvalue can have if the eigenvalue is that of `xᵀx`: a mean of
    /// magnitudes never exceeds the root of the mean square.
    #[must_use]
    pub fn magnitude_bound(&self) -> f64 {
        (self.eigenvalue / self.tokens as f64).sqrt()
    }
}

static PAPER: LazyLock<Paper> = LazyLock::new(|| {
    serde_json::from_str(include_str!("paper.json")).expect("a test reads the bundled figures")
});

impl Paper {
    /// What is known.
    #[must_use]
    pub fn known() -> &'static Self {
        &PAPER
    }

    /// The figure of `metric` that stands in `table` for a model's row: `method`, `variant` (empty where a method has only
    /// one) and code width, which FP16 has none of.
    #[must_use]
    pub fn value(
        &self,
        table: &str,
        model: &str,
        row: (&str, &str, Option<u8>),
        metric: &str,
    ) -> Option<f64> {
        let (method, variant, bits) = row;
        let is_it = |v: &&PaperValue| {
            v.table.as_deref().is_none_or(|t| t == table)
                && (v.model == model && v.method == method && v.metric == metric)
                && v.variant.as_deref().unwrap_or_default() == variant
                && v.bits == bits
        };
        self.values.iter().find(is_it).map(|v| v.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FP16: (&str, &str, Option<u8>) = ("fp16", "", None);

    #[test]
    fn every_figure_is_of_a_method_and_width_of_ours_and_stands_once() {
        let paper = Paper::known();
        for v in &paper.values {
            assert!(rosaq_methods::find(&v.method).is_ok(), "{v:?}");
            assert_eq!(v.bits.is_none(), v.method == "fp16", "{v:?}");
            assert_eq!(v.bits.is_none(), v.group_size.is_none(), "{v:?}");
            assert!(v.bits.is_none_or(|bits| [3, 4].contains(&bits)), "{v:?}");
            assert!(v.value.is_finite() && v.value > 0.0, "{v:?}");
            let is_percent = v.metric != "perplexity" && !v.metric.starts_with("tokens/s, ");
            assert!(!is_percent || v.value < 100.0, "{v:?}");
            let key = |v: &PaperValue| PaperValue { value: 0.0, ..v.clone() };
            assert_eq!(paper.values.iter().filter(|o| key(o) == key(v)).count(), 1, "{v:?}");
        }
    }

    #[test]
    fn figures_are_found_by_table_row_and_metric() {
        let value =
            |table: &str, row, metric: &str| Paper::known().value(table, "LLaMA2-7B", row, metric);
        // FP16's perplexity belongs to the model, its accuracies to their tables.
        assert_eq!(value("1", FP16, "perplexity"), Some(5.47));
        assert_eq!(value("2", FP16, "perplexity"), Some(5.47));
        assert_eq!(value("5-7", FP16, "piqa"), Some(79.11));
        assert_eq!(value("1", FP16, "piqa"), None);
        assert_eq!(value("4", ("rosaq", "", Some(4)), "tokens/s, 64 x 256"), Some(1638.0));
        assert_eq!(value("1", ("rtn", "", Some(4)), "perplexity"), None);
        assert_eq!(Paper::known().value("1", "another", FP16, "perplexity"), None);
    }

    #[test]
    fn a_row_of_an_ablation_is_told_from_its_neighbors() {
        let value = |variant: &str, bits, value| PaperValue {
            table: Some("2".to_owned()),
            model: "m".to_owned(),
            method: "rosaq".to_owned(),
            variant: Some(variant.to_owned()),
            bits: Some(bits),
            group_size: Some(128),
            metric: "perplexity".to_owned(),
            value,
        };
        let values = vec![value("top", 3, 1.0), value("bottom", 3, 2.0), value("top", 4, 3.0)];
        let paper = Paper { values, ..Paper::known().clone() };
        let found = |table, variant, bits| {
            paper.value(table, "m", ("rosaq", variant, Some(bits)), "perplexity")
        };
        assert_eq!(found("2", "bottom", 3), Some(2.0));
        assert_eq!(found("2", "top", 4), Some(3.0));
        assert_eq!(found("2", "bottom", 4), None);
        assert_eq!(found("3", "top", 3), None);
    }

    #[test]
    fn averages_agree_with_what_they_are_averages_of() {
        let of =
            |metric: &str| Paper::known().value("5-7", "LLaMA2-7B", FP16, metric).expect("known");
        let tasks = [
            "piqa",
            "winogrande",
            "hellaswag",
            "arc_easy",
            "arc_challenge",
            "commonsense_qa",
            "openbookqa",
        ];
        let mean = tasks.map(of).iter().sum::<f64>() / tasks.len() as f64;
        assert!((mean - of("average")).abs() < 0.01, "{mean}"); // two decimals are printed
        // Questions of the four categories of MMLU.
        let categories =
            [("humanities", 4705), ("social sciences", 3077), ("STEM", 3153), ("other", 3107)];
        let sum = categories.map(|(name, n)| of(name) * f64::from(n));
        let mean = sum.iter().sum::<f64>() / 14_042.0;
        assert!((mean - of("mmlu")).abs() < 0.01, "{mean}");
    }

    #[test]
    fn the_printed_magnitude_does_not_fit_its_eigenvalue() {
        let channel = Paper::known().channels[0];
        assert!((channel.magnitude_bound() - 3.16).abs() < 0.01);
        assert!(channel.magnitude > channel.magnitude_bound());
    }
}
