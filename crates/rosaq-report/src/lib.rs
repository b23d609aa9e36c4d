#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod card;
mod curves;
mod facts;
mod markdown;
mod number;
mod page;
mod plot;
mod section;

pub use card::model_card;
pub use curves::{LinearError, Magnitudes, Spectrum};
pub use facts::{ComparisonRow, ModelFacts, Report, RoleBits, Stage, Summary, TaskAccuracy};
pub use page::render_html;
pub use section::magnitudes::magnitude_svg;
