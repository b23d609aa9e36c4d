//! What figures are made of: scales, axes, paths. Colors are classes that the style sheet resolves, so that one figure
//! serves light and dark pages.

pub(crate) mod labels;
pub(crate) mod panel;
pub(crate) mod path;
pub(crate) mod scale;

use maud::{Markup, html};

/// Colors and strokes of figures, light and dark.
pub(crate) const STYLE: &str = include_str!("style/plot.css");

/// A coordinate with one decimal, which is finer than a screen shows. Never anything but a number.
pub(crate) fn px(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    // The sum turns a negative zero into a plain one.
    if rounded.is_finite() { format!("{}", rounded + 0.0) } else { "0".to_owned() }
}

/// A figure that fills the width it is given.
pub(crate) fn figure(width: f64, height: f64, label: &str, body: &Markup) -> Markup {
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {} {}", px(width), px(height)))
            role="img" aria-label=(label) { (body) }
    }
}

/// A horizontal bar of `share` of the width it is given; nothing for what is no share.
pub(crate) fn bar(share: f64, class: &str) -> Markup {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    html! {
        svg xmlns="http://www.w3.org/2000/svg" class="bar" width="100%" height="6" aria-hidden="true" {
            rect class="track" width="100%" height="6" rx="2" {}
            rect class=(class) width=(format!("{}%", px(100.0 * share))) height="6" rx="2" {}
        }
    }
}
