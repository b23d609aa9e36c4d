//! `cargo xtask generate`.

use std::io::Write;
use std::time::Duration;

use rosaq_pipeline::{Generated, Message, Request, Sampler, Sampling, TextModel};
use serde_json::json;

use crate::Outcome;
use crate::output::{print_json, print_text};
use crate::run_flags::GenerateFlags;

pub(crate) fn run(flags: &GenerateFlags) -> anyhow::Result<Outcome> {
    let mut sampler = Sampler::new(Sampling {
        temperature: flags.temperature,
        top_k: flags.top_k,
        top_p: flags.top_p,
        min_p: flags.min_p,
        seed: flags.seed,
    })?;
    let place = flags.place.open(flags.activations)?;
    let model = TextModel::open(&flags.model.path(), &place)?;
    let prompt = match flags.chat {
        true => model.chat(&messages(flags))?,
        false => model.prompt(&flags.prompt)?,
    };
    let request = Request {
        prompt: &prompt,
        max_tokens: flags.max_tokens,
        stop: &flags.stop,
        ignore_end: flags.ignore_end,
    };
    let as_json = flags.output.json;
    let mut show = |text: &str| {
        if !as_json {
            let mut out = std::io::stdout().lock();
            // A reader that went away is told by the write of the last line.
            drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        }
    };
    let found = model.generate(&request, &mut sampler, &mut show)?;
    let speeds = speeds(prompt.len(), &found);
    if as_json {
        print_json(&json!({
            "text": found.text, "tokens": found.tokens, "prompt_tokens": prompt.len(),
            "reason": found.reason.name(), "prompt_tokens_per_s": speeds[0], "tokens_per_s": speeds[1],
        }))?;
    } else {
        print_text("")?;
        let speed = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |r| format!("{r:.1}"));
        eprintln!(
            "{} tokens of prompt at {} a second, {} more at {} a second; ended by {}",
            prompt.len(),
            speed(speeds[0]),
            found.tokens.len(),
            speed(speeds[1]),
            found.reason.name()
        );
    }
    Ok(Outcome::Done)
}

fn messages(flags: &GenerateFlags) -> Vec<Message> {
    let message =
        |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let system = flags.system.iter().map(|system| message("system", system));
    system.chain([message("user", &flags.prompt)]).collect()
}

/// Tokens a second: of the prompt, and of the median token after the first.
fn speeds(prompt: usize, found: &Generated) -> [Option<f64>; 2] {
    let prompt = (!found.tokens.is_empty())
        .then(|| prompt as f64 / found.prompt_time.as_secs_f64().max(f64::MIN_POSITIVE));
    let mut times = found.token_times.clone();
    times.sort_unstable();
    let median = times.get(times.len() / 2).map(Duration::as_secs_f64);
    [prompt, median.map(|seconds| 1.0 / seconds.max(f64::MIN_POSITIVE))]
}
