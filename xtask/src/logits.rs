//! `cargo xtask logits`.

use std::fs::File;
use std::io::BufWriter;

use anyhow::Context;
use npyz::WriterBuilder;
use rosaq_pipeline::EvalModel;
use serde_json::json;

use crate::Outcome;
use crate::flags::LogitsFlags;
use crate::output::{prepare, print_json, print_text};

pub(crate) fn run(flags: &LogitsFlags) -> anyhow::Result<Outcome> {
    prepare(&flags.output)?;
    let list = std::fs::read_to_string(&flags.ids)
        .with_context(|| format!("cannot read \"{}\"", flags.ids.display()))?;
    let ids: Vec<u32> = serde_json::from_str(&list)
        .with_context(|| format!("\"{}\" is no JSON list of token ids", flags.ids.display()))?;
    let model = EvalModel::open(&flags.model.path())?;
    let logits = model.logits(&ids)?;
    let shape = [logits.rows as u64, logits.cols as u64];
    let cannot_write = || format!("cannot write \"{}\"", flags.out.display());
    let file = BufWriter::new(File::create(&flags.out).with_context(cannot_write)?);
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
    writer.extend(logits.data).and_then(|()| writer.finish()).with_context(cannot_write)?;
    if flags.output.json {
        print_json(&json!({ "out": flags.out.display().to_string(), "shape": shape }))?;
    } else {
        print_text(&format!("logits [{}, {}] in {}", shape[0], shape[1], flags.out.display()));
    }
    Ok(Outcome::Done)
}
