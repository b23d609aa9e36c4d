//! Relative output error by layer and role, as a table of colored cells.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Section;
use crate::number::{percent, significant};
use crate::{LinearError, Report};

/// Colors of the scale, the classes `h0` to `h6` of the style sheet.
const N_COLORS: usize = 7;

/// Layers of a column of the page, at least.
const MIN_ROWS: usize = 10;

/// Columns of the page.
const MAX_COLUMNS: usize = 3;

pub(super) fn section(report: &Report) -> Option<Section> {
    let errors = &report.errors;
    let mut roles: Vec<&str> = Vec::new();
    let mut rows: BTreeMap<usize, BTreeMap<&str, f64>> = BTreeMap::new();
    for LinearError { layer, role, relative } in errors {
        if !roles.contains(&role.as_str()) {
            roles.push(role);
        }
        rows.entry(*layer).or_default().insert(role, *relative);
    }
    let colors = Colors::of(errors.iter().map(|e| e.relative));
    let rows: Vec<(usize, BTreeMap<&str, f64>)> = rows.into_iter().collect();
    let n_columns = (rows.len() / MIN_ROWS).clamp(1, MAX_COLUMNS);
    (!errors.is_empty()).then(|| Section {
        id: "errors",
        title: "Output error of each linear",
        reading: Some(
            "Each cell says by how many percent the output of one linear is off on the calibration set; the darker (on a dark \
             page: the brighter), the larger. Rows are layers, columns are roles. The strip shows where each color begins."
                .to_owned(),
        ),
        body: html! {
            @if let Some(colors) = &colors { (colors.legend()) }
            div.figures {
                @for part in rows.chunks(rows.len().div_ceil(n_columns).max(1)) {
                    (table(&roles, part, colors.as_ref()))
                }
            }
        },
    })
}

fn table(roles: &[&str], rows: &[(usize, BTreeMap<&str, f64>)], colors: Option<&Colors>) -> Markup {
    html! {
        div.scroll {
            table.heat {
                thead { tr { th scope="col" { "layer" } @for role in roles { th scope="col" title=(role) { (role) } } } }
                tbody {
                    @for (layer, row) in rows {
                        tr {
                            th scope="row" { (layer) }
                            @for role in roles { (cell(*layer, role, row.get(role).copied(), colors)) }
                        }
                    }
                }
            }
        }
    }
}

fn cell(layer: usize, role: &str, relative: Option<f64>, colors: Option<&Colors>) -> Markup {
    let Some(relative) = relative else { return html! { td {} } };
    let class = colors.and_then(|c| c.class(relative));
    html! {
        td class=[class] title=(format!("layer {layer}, {role}: {}", percent(relative))) {
            (significant(100.0 * relative, 3))
        }
    }
}

/// Errors to colors: equal ratios from the smallest to the largest.
#[derive(Debug)]
struct Colors {
    low: f64,
    high: f64,
}

impl Colors {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = values
            .filter(|v| v.is_finite() && *v > 0.0)
            .fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
        (low <= high).then_some(Self { low, high })
    }

    /// The class of a value: the first color for zero, none for what is no error.
    fn class(&self, value: f64) -> Option<String> {
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        let color = (1..N_COLORS).rev().find(|c| value >= self.bound(*c)).unwrap_or(0);
        Some(format!("h{color}"))
    }

    /// Where color `color` begins.
    fn bound(&self, color: usize) -> f64 {
        let share = color as f64 / N_COLORS as f64;
        // Logarithms first: the ratio of the two may not be finite.
        (self.low.ln() + share * (self.high.ln() - self.low.ln())).exp()
    }

    fn legend(&self) -> Markup {
        html! {
            ul.legend aria-label="Colors" {
                @for color in 0..N_COLORS {
                    li class=(format!("h{color}")) {
                        (format!("{} %", significant(100.0 * self.bound(color), 2)))
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_equal_ratios() {
        let colors = Colors::of([0.01, f64::NAN, -1.0, 0.0, 1.28].into_iter()).unwrap();
        let classes = [0.0, 0.01, 0.019, 0.021, 1.28, 9.0].map(|v| colors.class(v).unwrap());
        assert_eq!(classes, ["h0", "h0", "h0", "h1", "h6", "h6"]);
        assert_eq!(colors.class(f64::NAN), None);
        assert!(Colors::of([0.0].into_iter()).is_none());
    }
}
