//! Size against quality: bits per weight and KL divergence of the compared methods.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::ComparisonRow;
use crate::number::short;
use crate::plot::labels::{Placed, Rect, place_labels};
use crate::plot::panel::Panel;
use crate::plot::scale::Scale;
use crate::plot::{figure, px};

/// Colors of methods, the classes `s0` to `s7` of the style sheet.
const N_COLORS: usize = 8;

/// Characters of a method's name in a label.
const MAX_NAME: usize = 24;

/// A row that can be drawn.
struct Point<'a> {
    /// Position in the table, from 1.
    number: usize,
    row: &'a ComparisonRow,
    kl: f64,
    color: usize,
}

/// The figure, drawn once for wide and once for narrow screens; nothing if no row can be drawn.
pub(super) fn markup(rows: &[&ComparisonRow]) -> Markup {
    let points = points(rows);
    if points.is_empty() {
        return html! {};
    }
    html! {
        h3 { "Size against quality" }
        p.reading {
            "Each point is a row of the table; left is smaller, down is closer to the source model (logarithmic axis, which has no \
             place for the 0 of FP16). Rows on the dashed line are beaten by none in both at once; vertical strokes are one \
             standard error."
        }
        div.wide { (drawing(&points, 760.0, 380.0)) }
        div.narrow { (drawing(&points, 360.0, 380.0)) }
    }
}

fn points<'a>(rows: &[&'a ComparisonRow]) -> Vec<Point<'a>> {
    let mut methods: Vec<&str> = Vec::new();
    let mut points = Vec::new();
    for (idx, row) in rows.iter().copied().enumerate() {
        let drawable = |kl: &f64| *kl > 0.0 && kl.is_finite() && row.bits_per_weight.is_finite();
        let Some(kl) = row.kl.filter(drawable) else { continue };
        let color = methods.iter().position(|m| *m == row.method).unwrap_or_else(|| {
            methods.push(&row.method);
            methods.len() - 1
        });
        points.push(Point { number: idx + 1, row, kl, color: color % N_COLORS });
    }
    points
}

fn drawing(points: &[Point<'_>], width: f64, height: f64) -> Markup {
    let panel = Panel { left: 46.0, top: 26.0, right: width - 10.0, bottom: height - 36.0 };
    let bits = || points.iter().map(|p| p.row.bits_per_weight);
    let (low, high) = (bits().fold(f64::INFINITY, f64::min), bits().fold(0.0, f64::max));
    let margin = 0.06 * (high - low);
    let x = Scale::linear(low - margin, high + margin, panel.across());
    let ends = points.iter().flat_map(|p| [p.kl, p.kl - spread(p), p.kl + spread(p)]);
    let Some(y) = Scale::log(ends, panel.upward()) else { return html! {} };
    let place = |bits: f64, kl: f64| Some((x.place(bits)?, y.place(kl)?));
    let places: Vec<(f64, f64)> = points
        .iter()
        .map(|p| place(p.row.bits_per_weight, p.kl).unwrap_or((panel.left, panel.bottom)))
        .collect();
    let area = Rect {
        left: panel.left + 2.0,
        top: panel.top - 4.0,
        right: panel.right,
        bottom: panel.bottom - 1.0,
    };
    let texts: Vec<Vec<String>> = points.iter().map(texts).collect();
    let body = html! {
        (panel.axes(&x, &y, "bits per weight", "KL divergence, nats per token"))
        path class="front" d=(front(&places)) {}
        @for (point, (at, _)) in points.iter().zip(&places) {
            @if let (Some(from), Some(to)) = (y.place(point.kl - spread(point)), y.place(point.kl + spread(point))) {
                path class="spread" d=(format!("M{},{}V{}", px(*at), px(from), px(to))) {}
            }
        }
        @for (point, (x, y)) in points.iter().zip(&places) {
            circle class=(format!("s{}", point.color)) cx=(px(*x)) cy=(px(*y)) r="4.5" { title { (describe(point)) } }
        }
        @for Placed { x, y, text } in place_labels(&places, &texts, area).into_iter().flatten() {
            text x=(px(x)) y=(px(y)) { (text) }
        }
    };
    figure(width, height, "Bits per weight and KL divergence of each method", &body)
}

/// One standard error, as far as it can be drawn.
fn spread(point: &Point<'_>) -> f64 {
    point.row.kl_stderr.filter(|e| e.is_finite() && *e > 0.0 && *e < point.kl).unwrap_or(0.0)
}

/// What may stand beside a point, longest first.
fn texts(point: &Point<'_>) -> Vec<String> {
    let mut name: String = point.row.method.chars().take(MAX_NAME).collect();
    if point.row.method.chars().nth(MAX_NAME).is_some() {
        name.push('…');
    }
    let bits = point.row.bits.map(|b| format!(", {} bits", short(b))).unwrap_or_default();
    vec![format!("{}: {name}{bits}", point.number), point.number.to_string()]
}

fn describe(point: &Point<'_>) -> String {
    let Point { number, row, kl, .. } = point;
    let settings = row.settings.as_deref().map(|s| format!(", {s}")).unwrap_or_default();
    format!(
        "{number} {}{settings}: {} bits per weight, KL {}",
        row.method,
        short(row.bits_per_weight),
        short(*kl)
    )
}

/// A line through the points that no other one beats in both, from left to right.
fn front(places: &[(f64, f64)]) -> String {
    let mut sorted = places.to_vec();
    // Lower quality loss lies lower on the page, where y is larger.
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut d = String::new();
    let mut best = f64::NEG_INFINITY;
    for (x, y) in sorted {
        if y > best {
            best = y;
            let command = if d.is_empty() { 'M' } else { 'L' };
            write!(d, "{command}{},{}", px(x), px(y)).expect("a string takes all");
        }
    }
    d
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_leaves_beaten_points_out() {
        let places = [(10.0, 5.0), (20.0, 3.0), (30.0, 9.0), (10.0, 1.0), (40.0, 9.0)];
        assert_eq!(front(&places), "M10,5L30,9");
        assert_eq!(front(&[]), "");
    }
}
