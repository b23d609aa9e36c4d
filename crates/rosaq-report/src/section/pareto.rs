//! Size against quality: bits per weight and KL divergence of the compared methods.

use maud::{Markup, html};

use super::scatter::{Best, Plot, points};
use crate::ComparisonRow;
use crate::number::short;

/// The figure; nothing if no row can be drawn.
pub(super) fn markup(rows: &[&ComparisonRow]) -> Markup {
    let points = points(rows, divergence);
    if points.is_empty() {
        return html! {};
    }
    let plot = Plot {
        points,
        label: "Bits per weight and KL divergence of each method",
        axis: "KL divergence, nats per token",
        best: Best::Lowest,
        source: None,
        show: |kl| format!("KL {}", short(kl)),
    };
    html! {
        h3 { "Size against quality" }
        p.reading {
            "Each point is a row of the table; left is smaller, down is closer to the source model (logarithmic axis, which has no \
             place for the 0 of FP16). Rows on the dashed line are beaten by none in both at once; vertical strokes are one \
             standard error."
        }
        (plot.markup())
    }
}

/// KL divergence and its standard error, as far as a logarithmic axis can have them.
fn divergence(row: &ComparisonRow) -> Option<(f64, f64)> {
    let kl = row.kl.filter(|kl| *kl > 0.0)?;
    let spread = row.kl_stderr.filter(|e| e.is_finite() && *e > 0.0 && *e < kl);
    Some((kl, spread.unwrap_or(0.0)))
}
