//! `cargo xtask eval --tasks`.

use std::fs;
use std::path::Path;

use anyhow::Context;
use rosaq_pipeline::{
    EvalModel, GroupScore, Keep, Measure, Metric, Place, Progress, ScoredQuestion, Sharing,
    Stopwatch, TaskJob, TaskQuestions, TaskScore, common_sense_average,
};
use serde_json::json;

use crate::Outcome;
use crate::command_flags::EvalFlags;
use crate::output::{make_room, print_json, print_text, table};
use crate::quantize::default_out;

pub(crate) fn run(
    flags: &EvalFlags,
    (path, place): (&Path, &Place),
    job: &TaskJob,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let questions = TaskQuestions::load(job, progress)?; // fails on bad data before the model is opened
    make_room(flags.samples.as_deref())?;
    let model = EvalModel::open_on(path, place)?;
    let out = flags.out.clone().unwrap_or_else(|| match place.activations() {
        "f32" => default_out(path, "tasks"),
        // Other activations, other scores.
        other => default_out(path, &format!("tasks-{other}")),
    });
    let keep = if flags.no_sharing {
        Keep::Nowhere(Sharing::Apart)
    } else {
        Keep::In { dir: &out, fresh: flags.fresh }
    };
    let watch = Stopwatch::start();
    let found = model.score_tasks(&questions, keep, progress)?;
    let time = watch.stop("tasks");
    if let Some(samples) = &flags.samples {
        write_samples(samples, &found.questions)?;
    }
    let average = common_sense_average(&found.tasks);
    if flags.output.json {
        print_json(&json!({
            "model": path.display().to_string(), "shots": job.shots, "limit": job.limit, "tasks": found.tasks,
            "common_sense_average": average, "cpu_seconds": time.cpu_seconds, "wall_seconds": time.wall_seconds,
        }))?;
        return Ok(Outcome::Done);
    }
    print_text(&accuracy_table(&found.tasks, average))?;
    for task in &found.tasks {
        print_text(&format!("{}: {}", task.task, task.file))?;
    }
    print_text(&format!(
        "{:.1} CPU s, {:.1} s; * counts in averages",
        time.cpu_seconds, time.wall_seconds
    ))?;
    Ok(Outcome::Done)
}

/// Accuracies in percent; groups of a task below it.
fn accuracy_table(tasks: &[TaskScore], average: Option<f64>) -> String {
    let mut rows = Vec::new();
    for task in tasks {
        let count = match task.rows_of_all {
            Some(all) if all != task.rows => format!("{} of {all}", task.rows),
            _ => task.rows.to_string(),
        };
        let star = |metric| if task.reported == metric { " *" } else { "" };
        rows.push(vec![
            task.task.clone(),
            count,
            percent(task.acc) + star(Metric::Acc),
            task.acc_norm.map(|m| percent(m) + star(Metric::AccNorm)).unwrap_or_default(),
        ]);
        let group = |group: &GroupScore| {
            vec![
                format!("  {}", group.name),
                group.rows.to_string(),
                percent(group.acc),
                String::new(),
            ]
        };
        rows.extend(task.groups.iter().map(group));
    }
    if let Some(average) = average {
        let average = format!("{:.2}", average * 100.0);
        rows.push(vec!["common-sense average *".to_owned(), String::new(), average, String::new()]);
    }
    table(&["task", "rows", "acc, %", "acc_norm, %"], rows)
}

fn percent(measure: Measure) -> String {
    format!("{:.2} ± {:.2}", measure.value * 100.0, measure.stderr * 100.0)
}

/// One JSON object a line, in one piece.
fn write_samples(path: &Path, questions: &[ScoredQuestion]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for question in questions {
        lines += &serde_json::to_string(question)?;
        lines.push('\n');
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    fs::write(&temporary, lines)
        .and_then(|()| fs::rename(&temporary, path))
        .with_context(|| format!("cannot write \"{}\"", path.display()))
}
