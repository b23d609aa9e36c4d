//! Writes the page, the model card or the figure of a made-up model, by the ending of the path: `.html`, `.md`, `.svg`.

use std::{env, fs, io};

use rosaq_report::{magnitude_svg, model_card, render_html};

#[path = "../tests/sample/mod.rs"]
mod sample;

fn main() -> io::Result<()> {
    let Some(path) = env::args().nth(1) else {
        return Err(io::Error::other("usage: sample_report FILE.html|FILE.md|FILE.svg"));
    };
    let report = sample::report();
    let text = match path.rsplit('.').next() {
        Some("md") => model_card(&report),
        Some("svg") => magnitude_svg(&report.magnitudes[0]),
        _ => render_html(&report),
    };
    fs::write(path, text)
}
