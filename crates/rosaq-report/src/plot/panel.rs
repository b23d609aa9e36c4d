//! A rectangle with axes in which curves are drawn.

use maud::{Markup, html};

use super::px;
use super::scale::{Scale, Tick};

/// Edges of the rectangle inside the axes, in pixels of the figure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Panel {
    /// First and last pixel of a horizontal axis.
    pub(crate) fn across(&self) -> (f64, f64) {
        (self.left, self.right)
    }

    /// First and last pixel of a vertical axis, which counts upward.
    pub(crate) fn upward(&self) -> (f64, f64) {
        (self.bottom, self.top)
    }

    /// Grid lines, tick labels, and the titles of both axes: `x_title` under the right end, `y_title` above the panel.
    pub(crate) fn axes(&self, x: &Scale, y: &Scale, x_title: &str, y_title: &str) -> Markup {
        html! {
            @for Tick { at, label } in y.ticks() {
                path class="grid" d=(format!("M{},{}H{}", px(self.left), px(at), px(self.right))) {}
                text class="end" x=(px(self.left - 5.0)) y=(px(at + 4.0)) { (label) }
            }
            @for Tick { at, label } in x.ticks() {
                path class="axis" d=(format!("M{},{}v4", px(at), px(self.bottom))) {}
                text class="mid" x=(px(at)) y=(px(self.bottom + 16.0)) { (label) }
            }
            path class="axis" d=(format!("M{},{}H{}", px(self.left), px(self.bottom), px(self.right))) {}
            text class="end dim" x=(px(self.right)) y=(px(self.bottom + 30.0)) { (x_title) }
            text class="dim" x="2" y=(px(self.top - 8.0)) { (y_title) }
        }
    }
}
