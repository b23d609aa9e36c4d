//! Size against quality: a point for each row of the comparison, with what all such plots share.

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

/// Where the label of the source model's line stands, in pixels from the right end.
const SOURCE_LABEL: f64 = 44.0;

/// A plot of bits per weight and one figure of quality.
pub(super) struct Plot<'a> {
    pub(super) points: Vec<Point<'a>>,
    /// What the plot shows, for those who do not see it.
    pub(super) label: &'static str,
    /// Title of the vertical axis.
    pub(super) axis: &'static str,
    pub(super) best: Best,
    /// The source model's figure: a line across.
    pub(super) source: Option<f64>,
    /// The figure in words.
    pub(super) show: fn(f64) -> String,
}

/// Which figures are good.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Best {
    /// Small ones, on a logarithmic axis.
    Lowest,
    /// Large ones, on a linear axis.
    Highest,
}

/// A row that can be drawn.
pub(super) struct Point<'a> {
    /// Position in the table, from 1.
    number: usize,
    row: &'a ComparisonRow,
    value: f64,
    /// Its standard error; 0 for none.
    spread: f64,
    color: usize,
}

/// The rows, without the source model, for which `figure` gives a value and its standard error. A method has the same color
/// in every plot.
pub(super) fn points<'a>(
    rows: &[&'a ComparisonRow],
    figure: impl Fn(&ComparisonRow) -> Option<(f64, f64)>,
) -> Vec<Point<'a>> {
    let mut methods: Vec<&str> = Vec::new();
    let mut points = Vec::new();
    for (idx, row) in rows.iter().copied().enumerate().filter(|(_, row)| !row.is_fp16()) {
        let color = methods.iter().position(|m| *m == row.method).unwrap_or_else(|| {
            methods.push(&row.method);
            methods.len() - 1
        });
        let figure = figure(row).filter(|(value, _)| value.is_finite());
        let Some((value, spread)) = figure.filter(|_| row.bits_per_weight.is_finite()) else {
            continue;
        };
        points.push(Point { number: idx + 1, row, value, spread, color: color % N_COLORS });
    }
    points
}

impl Plot<'_> {
    /// The figure, drawn once for wide and once for narrow screens.
    pub(super) fn markup(&self) -> Markup {
        html! {
            div.wide { (self.drawing(760.0, 380.0)) }
            div.narrow { (self.drawing(360.0, 380.0)) }
        }
    }

    fn drawing(&self, width: f64, height: f64) -> Markup {
        let panel = Panel { left: 46.0, top: 26.0, right: width - 10.0, bottom: height - 36.0 };
        let bits = || self.points.iter().map(|p| p.row.bits_per_weight);
        let (low, high) = (bits().fold(f64::INFINITY, f64::min), bits().fold(0.0, f64::max));
        let margin = 0.06 * (high - low);
        let x = Scale::linear(low - margin, high + margin, panel.across());
        let Some(y) = self.vertical(panel) else { return html! {} };
        let place = |p: &Point<'_>| {
            let place = x.place(p.row.bits_per_weight).zip(y.place(p.value));
            place.unwrap_or((panel.left, panel.bottom))
        };
        let places: Vec<(f64, f64)> = self.points.iter().map(place).collect();
        let source = self.source.and_then(|value| y.place(value));
        let body = html! {
            (panel.axes(&x, &y, "bits per weight", self.axis))
            @if let Some(at) = source {
                path class="axis" d=(format!("M{},{}H{}", px(panel.left), px(at), px(panel.right))) {}
            }
            path class="front" d=(front(&places, self.best)) {}
            @for (p, (at, _)) in self.points.iter().zip(&places).filter(|(p, _)| p.spread > 0.0) {
                @if let (Some(from), Some(to)) = (y.place(p.value - p.spread), y.place(p.value + p.spread)) {
                    path class="spread" d=(format!("M{},{}V{}", px(*at), px(from), px(to))) {}
                }
            }
            @for (point, (x, y)) in self.points.iter().zip(&places) {
                circle class=(format!("s{}", point.color)) cx=(px(*x)) cy=(px(*y)) r="4.5" {
                    title { (self.describe(point)) }
                }
            }
            @for Placed { x, y, text } in self.labels(places, source, panel) {
                text class="over" x=(px(x)) y=(px(y)) { (text) }
            }
        };
        figure(width, height, self.label, &body)
    }

    fn vertical(&self, panel: Panel) -> Option<Scale> {
        let ends = self.points.iter().flat_map(|p| [p.value - p.spread, p.value + p.spread]);
        let ends = ends.chain(self.source);
        if self.best == Best::Lowest {
            return Scale::log(ends, panel.upward());
        }
        let (low, high) = ends
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let margin = 0.06 * (high - low);
        (low <= high).then(|| Scale::linear(low - margin, high + margin, panel.upward()))
    }

    /// Labels of the points and of the source model's line.
    fn labels(
        &self,
        mut places: Vec<(f64, f64)>,
        source: Option<f64>,
        panel: Panel,
    ) -> impl Iterator<Item = Placed> {
        let area = Rect {
            left: panel.left + 2.0,
            top: panel.top - 4.0,
            right: panel.right,
            bottom: panel.bottom - 1.0,
        };
        let mut texts: Vec<Vec<String>> = self.points.iter().map(texts).collect();
        if let Some(at) = source {
            places.push((panel.right - SOURCE_LABEL, at));
            texts.push(vec!["FP16".to_owned()]);
        }
        place_labels(&places, &texts, area).into_iter().flatten()
    }

    fn describe(&self, point: &Point<'_>) -> String {
        let Point { number, row, value, .. } = point;
        let settings = row.settings.as_deref().map(|s| format!(", {s}")).unwrap_or_default();
        let bits = short(row.bits_per_weight);
        let figure = (self.show)(*value);
        format!("{number} {}{settings}: {bits} bits per weight, {figure}", row.method)
    }
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

/// A line through the points that no other one beats in both, from left to right.
fn front(places: &[(f64, f64)], best: Best) -> String {
    // Pixels count downward: of two points the one with the larger `y` lies lower.
    let rank = |y: f64| if best == Best::Lowest { y } else { -y };
    let mut sorted = places.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(rank(b.1).total_cmp(&rank(a.1))));
    let mut d = String::new();
    let mut best = f64::NEG_INFINITY;
    for (x, y) in sorted {
        if rank(y) > best {
            best = rank(y);
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
        assert_eq!(front(&places, Best::Lowest), "M10,5L30,9");
        assert_eq!(front(&places, Best::Highest), "M10,1");
        let rising = [(10.0, 5.0), (20.0, 3.0), (30.0, 9.0)];
        assert_eq!(front(&rising, Best::Highest), "M10,5L20,3");
        assert_eq!(front(&[], Best::Lowest), "");
    }
}
