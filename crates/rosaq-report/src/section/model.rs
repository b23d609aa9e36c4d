//! What was quantized, how, and what else there is to say.

use maud::html;

use super::{Section, list};
use crate::Report;

/// The model's configuration.
pub(super) fn facts(report: &Report) -> Option<Section> {
    let known = report.model.known();
    (!known.is_empty()).then(|| Section {
        id: "model",
        title: "Model",
        reading: None,
        body: list(known.iter().map(|(name, value)| (*name, value.as_str()))),
    })
}

/// Command and settings.
pub(super) fn settings(report: &Report) -> Option<Section> {
    let pairs = &report.settings;
    (!pairs.is_empty() || report.command.is_some()).then(|| Section {
        id: "settings",
        title: "Settings",
        reading: None,
        body: html! {
            @if let Some(command) = &report.command { pre { code { (command) } } }
            @if !pairs.is_empty() { (list(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))) }
        },
    })
}

/// Remarks.
pub(super) fn notes(report: &Report) -> Option<Section> {
    (!report.notes.is_empty()).then(|| Section {
        id: "notes",
        title: "Notes",
        reading: None,
        body: html! { ul { @for note in &report.notes { li { (note) } } } },
    })
}
