//! `cargo xtask eval`.

use rosaq_pipeline::{EvalModel, Progress};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::EvalFlags;
use crate::output::{print_json, print_text, table};
use crate::quantize::judge;
use crate::tasks;

pub(crate) fn run(flags: &EvalFlags) -> anyhow::Result<Outcome> {
    let progress = Progress::detect();
    let path = flags.model.path();
    let place = flags.place.open(flags.activations)?;
    if let Some(job) = flags.tasks.job(flags.text.context)? {
        return tasks::run(flags, (&path, &place), &job, progress);
    }
    let model = EvalModel::open_on(&path, &place)?;
    let tokens = model.tokens(&flags.text.text())?;
    let reference = match &flags.reference {
        Some(reference) => {
            Some(EvalModel::open(reference)?.into_reference(&tokens, None, progress)?)
        }
        None => None,
    };
    let found = model.evaluate(&tokens, reference.as_ref(), progress)?;
    if flags.output.json {
        print_json(&json!({
            "model": path.display().to_string(), "context": found.context, "tokens": found.tokens,
            "perplexity": found.perplexity, "reference_perplexity": found.reference_perplexity,
            "kl": found.kl, "kl_stderr": found.kl_stderr, "text": found.text, "text_form": found.text_form,
        }))?;
        return Ok(judge(flags.max_ppl_increase, Some(&found)));
    }
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("text", format!("{}, {}", found.text, found.text_form)),
        row("tokens scored", found.tokens.to_string()),
        row("context", found.context.to_string()),
        row("perplexity", format!("{:.4}", found.perplexity)),
    ];
    if let Some(fp16) = found.reference_perplexity {
        rows.push(row("perplexity of the reference", format!("{fp16:.4}")));
    }
    if let (Some(kl), Some(stderr)) = (found.kl, found.kl_stderr) {
        rows.push(row("KL divergence, nats", format!("{kl:.5} ± {stderr:.5}")));
    }
    print_text(&table(&[&path.display().to_string(), ""], rows))?;
    Ok(judge(flags.max_ppl_increase, Some(&found)))
}
