//! The sections of the page, one file each. A section is there if its data is.

mod accuracy;
mod comparison;
mod errors;
pub(crate) mod magnitudes;
mod model;
mod pareto;
mod roles;
mod scatter;
mod spectra;
mod stages;
pub(crate) mod summary;

use maud::{Markup, html};

use crate::Report;

/// A section of the page.
#[derive(Debug)]
pub(crate) struct Section {
    /// Anchor.
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// How to read what follows, for a reader who sees it for the first time.
    pub(crate) reading: Option<String>,
    pub(crate) body: Markup,
}

/// All sections in the order of the page.
pub(crate) const SECTIONS: &[fn(&Report) -> Option<Section>] = &[
    model::facts,
    model::settings,
    errors::section,
    spectra::section,
    magnitudes::section,
    roles::section,
    comparison::section,
    accuracy::section,
    stages::section,
    model::notes,
];

impl Section {
    pub(crate) fn markup(&self) -> Markup {
        html! {
            section id=(self.id) {
                h2 { (self.title) }
                @if let Some(reading) = &self.reading { p.reading { (reading) } }
                (self.body)
            }
        }
    }
}

/// Names and values side by side.
fn list<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in pairs { div { dt { (name) } dd { (value) } } }
        }
    }
}
