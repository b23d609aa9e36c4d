//! Channel magnitudes before and after rotation: Figure 2 of the ROSAQ paper.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};

use super::Section;
use crate::page::printable;
use crate::plot::panel::Panel;
use crate::plot::path::{curve, points_of_a_curve};
use crate::plot::scale::Scale;
use crate::plot::{STYLE, figure, px};
use crate::{Magnitudes, Report};

/// Width and height of a figure.
#[derive(Debug, Clone, Copy)]
struct Size {
    width: f64,
    height: f64,
}

const SMALL: Size = Size { width: 360.0, height: 380.0 };
const STANDALONE: Size = Size { width: 740.0, height: 460.0 };

/// Space on both sides of the figure that stands alone.
const SIDE: f64 = 10.0;

/// Height of the title of the figure that stands alone.
const TITLE: f64 = 34.0;

/// Draws `magnitudes` as an SVG document of its own, light and dark: mean absolute activation per channel, original
/// channels above, the eigenbasis with its salient channels first below, on one logarithmic axis (ROSAQ, Figure 2).
#[must_use]
pub fn magnitude_svg(magnitudes: &Magnitudes) -> String {
    let (width, height) = (STANDALONE.width + 2.0 * SIDE, STANDALONE.height + TITLE);
    let title = format!("Mean |activation| per channel: {}", name(magnitudes));
    let drawing = panels(magnitudes, points_of_a_curve(1), STANDALONE);
    let document = html! {
        svg xmlns="http://www.w3.org/2000/svg" role="img" width=(px(width)) height=(px(height))
            viewBox=(format!("0 0 {} {}", px(width), px(height))) {
            title { (title) }
            style { (PreEscaped(STYLE)) }
            rect class="paper" width="100%" height="100%" {}
            text class="title" x="12" y="24" { (title) }
            g transform=(format!("translate({} {})", px(SIDE), px(TITLE))) { (drawing) }
        }
    };
    printable(document.into_string())
}

pub(super) fn section(report: &Report) -> Option<Section> {
    let drawable: Vec<&Magnitudes> =
        report.magnitudes.iter().filter(|m| !m.before.is_empty() || !m.after.is_empty()).collect();
    let max_points = points_of_a_curve(2 * drawable.len());
    (!drawable.is_empty()).then(|| Section {
        id: "magnitudes",
        title: "Magnitudes before and after rotation",
        reading: Some(
            "Size of each channel's activations, above as the model has them, below after the rotation; both panels have \
             the same logarithmic axis. Peaks scattered above that gather at the left below (orange, kept in f16) leave small, \
             even channels for the integers."
                .to_owned(),
        ),
        body: html! {
            div.figures {
                @for magnitudes in &drawable {
                    figure {
                        figcaption {
                            h3 { (name(magnitudes)) }
                            p { (facts(magnitudes)) }
                        }
                        (figure(SMALL.width, SMALL.height, &format!("Magnitudes of {}", name(magnitudes)),
                            &panels(magnitudes, max_points, SMALL)))
                    }
                }
            }
        },
    })
}

fn name(m: &Magnitudes) -> String {
    format!("Layer {}, {}", m.layer, m.site)
}

fn facts(m: &Magnitudes) -> String {
    let n = m.after.len();
    format!("K = {} of {n} channels salient", m.salient.min(n))
}

/// Both panels, one above the other.
fn panels(m: &Magnitudes, max_points: usize, size: Size) -> Markup {
    let half = 0.5 * size.height;
    let panel = |top: f64| Panel {
        left: 46.0,
        top: top + 26.0,
        right: size.width - 14.0,
        bottom: top + half - 36.0,
    };
    let before: Vec<f64> = m.before.iter().copied().map(f64::from).collect();
    let after: Vec<f64> = m.after.iter().copied().map(f64::from).collect();
    let scale = |panel: &Panel| Scale::log(before.iter().chain(&after).copied(), panel.upward());
    let draw = |top: f64, title: &str, values: &[f64], salient: usize| {
        let panel = panel(top);
        let x = Scale::linear(0.0, values.len() as f64, panel.across());
        let y = scale(&panel)?;
        // The salient curve goes on to the first channel after it, so that the two meet.
        let parts: [(&str, Range<usize>); 2] =
            [("curve s0", salient..values.len()), ("curve s1", 0..(salient + 1).min(values.len()))];
        let n_parts = if salient > 0 { 2 } else { 1 };
        Some(html! {
            (panel.axes(&x, &y, "channel", title))
            @for (class, range) in parts.into_iter().take(n_parts) {
                path class=(class) d=(curve(values, range, max_points, &x, &y)) {}
            }
        })
    };
    let salient = m.salient.min(after.len());
    let above = draw(0.0, &format!("before: {}, original channels", m.measure), &before, 0);
    let below =
        draw(half, &format!("after: {}, rotated, salient first", m.measure), &after, salient);
    match (above, below) {
        (Some(above), Some(below)) => html! { (above) (below) },
        _ => html! { text class="dim" x="12" y="24" { "No magnitude is positive and finite." } },
    }
}
