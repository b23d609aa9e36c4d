//! Eigenvalue spectra, one small figure each.

use maud::{Markup, html};

use super::Section;
use crate::number::{count, percent};
use crate::plot::panel::Panel;
use crate::plot::path::{curve, points_of_a_curve};
use crate::plot::scale::Scale;
use crate::plot::{figure, px};
use crate::{Report, Spectrum};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 210.0;

pub(super) fn section(report: &Report) -> Option<Section> {
    let drawable: Vec<&Spectrum> =
        report.spectra.iter().filter(|s| !s.eigenvalues.is_empty()).collect();
    let max_points = points_of_a_curve(drawable.len());
    (!drawable.is_empty()).then(|| Section {
        id: "spectra",
        title: "Eigenvalue spectra",
        reading: Some(
            "Each curve shows how strongly the activations vary along each direction of the eigenbasis, strongest first \
             (λ / N is the mean square per token, on a logarithmic axis). Directions left of the cut at K stay in f16; a curve \
             that falls steeply before the cut means that few channels carry most of the signal."
                .to_owned(),
        ),
        body: html! {
            div.figures { @for spectrum in &drawable { (small_multiple(spectrum, max_points)) } }
        },
    })
}

fn small_multiple(spectrum: &Spectrum, max_points: usize) -> Markup {
    let name = format!("Layer {}, {}", spectrum.layer, spectrum.site);
    html! {
        figure {
            figcaption { h3 { (name) } p { (facts(spectrum)) } }
            (drawing(spectrum, max_points, &format!("Eigenvalues of {name}")))
        }
    }
}

fn facts(spectrum: &Spectrum) -> String {
    let n = spectrum.eigenvalues.len();
    let kept = spectrum.salient.min(n);
    let share = match spectrum.share_kept() {
        Some(share) => format!(" hold {} of the energy", percent(share)),
        None => String::new(),
    };
    let tokens = match spectrum.tokens {
        0 => String::new(),
        tokens => format!("; N\u{a0}=\u{a0}{} tokens", count(tokens)),
    };
    format!("K\u{a0}=\u{a0}{} of {} channels{share}{tokens}", count(kept as u64), count(n as u64))
}

fn drawing(spectrum: &Spectrum, max_points: usize, label: &str) -> Markup {
    let panel = Panel { left: 46.0, top: 24.0, right: WIDTH - 14.0, bottom: HEIGHT - 36.0 };
    let n_tokens = spectrum.tokens.max(1) as f64;
    let values: Vec<f64> = spectrum.eigenvalues.iter().map(|v| v / n_tokens).collect();
    let n = values.len();
    let x = Scale::linear(0.0, n as f64, panel.across());
    let Some(y) = Scale::log(values.iter().copied(), panel.upward()) else {
        return html! { p.dim { "No eigenvalue is positive and finite." } };
    };
    let kept = spectrum.salient.min(n);
    let cut = x.place(kept as f64 + 0.5).filter(|_| kept > 0).unwrap_or(panel.left);
    let beside = if cut > 0.6 * WIDTH { (cut - 5.0, "end") } else { (cut + 5.0, "start") };
    let y_title = if spectrum.tokens == 0 { "λ" } else { "λ / N" };
    let body = html! {
        rect class="kept" x=(px(panel.left)) y=(px(panel.top)) width=(px(cut - panel.left))
            height=(px(panel.bottom - panel.top)) {}
        (panel.axes(&x, &y, "eigenvalue, by rank", y_title))
        path class="curve s0" d=(curve(&values, 0..n, max_points, &x, &y)) {}
        @if kept > 0 {
            path class="cut" d=(format!("M{},{}V{}", px(cut), px(panel.top), px(panel.bottom))) {}
            text class=(beside.1) x=(px(beside.0)) y=(px(panel.top + 10.0)) { "K = " (kept) }
        }
    };
    figure(WIDTH, HEIGHT, label, &body)
}
