//! `cargo xtask compare`.

use std::fs;

use anyhow::{Context, bail};
use rosaq_pipeline::{
    CompareJob, CompareRow, Comparison, Method, MethodSettings, Part, Progress, RowOrder, Setting,
    TaskColumn, Variant, compare, find, heeding, unheeded, write_comparison_html,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::command_flags::{CompareFlags, TableFlags};
use crate::output::{command_line, make_room, megabytes, print_json, print_text, table};
use crate::quantize::default_out;

pub(crate) fn run(flags: &CompareFlags) -> anyhow::Result<Outcome> {
    let progress = Progress::detect();
    let variants = variants(flags)?;
    let (job, found) = run_variants(&flags.table, variants, RowOrder::Quality, progress)?;
    write_csv(&flags.table, &found.rows)?;
    print(&job, &found, flags.table.output.json)?;
    Ok(Outcome::Done)
}

/// A width that stands where an average decides.
const NO_WIDTH: u8 = 4;

/// Every method at every width or average, group size and placement that means something to it.
fn variants(flags: &CompareFlags) -> anyhow::Result<Vec<Variant>> {
    let names = flags.methods.iter();
    let methods = names.map(|name| find(name)).collect::<Result<Vec<&dyn Method>, _>>()?;
    let placements: Vec<Option<&str>> = match flags.settings.rotation.as_slice() {
        [] => vec![None],
        several => several.iter().map(|placement| Some(placement.as_str())).collect(),
    };
    let mut all = Vec::new();
    for placement in &placements {
        for &group_size in &flags.group_size {
            for &bits in &flags.table.bits {
                all.push(flags.settings.settings(bits, group_size, *placement)?);
            }
            for &target in &flags.target_bits {
                let mut settings = flags.settings.settings(NO_WIDTH, group_size, *placement)?;
                settings.target_bits = Some(target);
                all.push(settings);
            }
        }
    }
    for settings in &all {
        refuse_unheeded(settings, &methods)?;
    }
    let mut variants = Vec::new();
    for &method in &methods {
        // A method that takes averages goes by those, where there are any; the others by widths.
        let takes_averages = method.heeds().contains(&Setting::TargetBits);
        let by_average = takes_averages && !flags.target_bits.is_empty();
        for settings in all.iter().filter(|s| s.target_bits.is_some() == by_average) {
            let leaves_out = flags.ablation && method.heeds().contains(&Setting::Without);
            let parts = if leaves_out { &Part::ALL[..] } else { &[] };
            for without in [None].into_iter().chain(parts.iter().copied().map(Some)) {
                let mut settings = settings.clone();
                settings.without.extend(without);
                let variant = Variant::new(method, &settings);
                if !variants.contains(&variant) {
                    variants.push(variant);
                }
            }
        }
    }
    Ok(variants)
}

/// A setting that means nothing to any of the methods is a mistake; one that means nothing to some is meant for the others.
fn refuse_unheeded(settings: &MethodSettings, methods: &[&dyn Method]) -> anyhow::Result<()> {
    match unheeded(settings, methods) {
        Some(setting) => bail!(
            "`--{}` means nothing to any of these methods; leave it out, or add one of: {}",
            setting.flag(),
            heeding(setting)
        ),
        None => Ok(()),
    }
}

/// Compares `variants` and writes the page that was asked for.
pub(crate) fn run_variants(
    flags: &TableFlags,
    variants: Vec<Variant>,
    order: RowOrder,
    progress: Progress,
) -> anyhow::Result<(CompareJob, Comparison)> {
    make_room(flags.report.as_deref())?;
    make_room(flags.csv.as_deref())?;
    let model = flags.model.path();
    let job = CompareJob {
        out: flags.out.clone().unwrap_or_else(|| default_out(&model, "compare")),
        calibration: flags.calibration.set(),
        text: flags.text.text(),
        tasks: flags.tasks.job(None)?,
        fresh: flags.fresh,
        order,
        model,
        variants,
    };
    let found = compare(&job, progress)?;
    if let Some(path) = &flags.report {
        write_comparison_html(&job.model, &found, command_line(), path)?;
    }
    Ok((job, found))
}

/// Prints a comparison as a table for people or as one JSON object.
fn print(job: &CompareJob, found: &Comparison, json: bool) -> anyhow::Result<()> {
    if json {
        print_json(&json!({ "model": job.model.display().to_string(), "rows": found.rows,
            "calibration": found.calibration }))?;
    } else {
        let header = [
            "method",
            "settings",
            "code bits",
            "group",
            "bits/weight",
            "weight bits",
            "perplexity",
            "KL, nats",
            "±",
            "size, MB",
            "CPU s",
            "peak MB",
        ];
        print_text(&table(&header, found.rows.iter().map(cells)))?;
        if let Some(tasks) = task_table(&found.rows, None) {
            print_text(&tasks)?;
        }
        print_where(job, found)?;
    }
    Ok(())
}

/// What stands below a table for people.
pub(crate) fn print_where(job: &CompareJob, found: &Comparison) -> anyhow::Result<()> {
    if let Some(time) = &found.calibration {
        let seconds = time.cpu_seconds;
        print_text(&format!("calibration, shared by all: {seconds:.1} CPU s"))?;
    }
    print_text(&format!("checkpoints and statistics are kept in {}", job.out.display()))
}

/// Rows as comma-separated values in full precision, if they were asked for. A task has two columns, its share of right
/// answers and the standard error of that.
pub(crate) fn write_csv(flags: &TableFlags, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let Some(path) = &flags.csv else { return Ok(()) };
    let failed = || format!("cannot write \"{}\"", path.display());
    let mut writer = csv::Writer::from_writer(Vec::new());
    for (idx, row) in rows.iter().enumerate() {
        let mut fields = Map::new();
        collect_fields(serde_json::to_value(row)?, &mut fields);
        if idx == 0 {
            writer.write_record(fields.keys()).with_context(failed)?;
        }
        let texts = fields.values().map(|value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        });
        writer.write_record(texts).with_context(failed)?;
    }
    fs::write(path, writer.into_inner().with_context(failed)?).with_context(failed)
}

/// The fields of a row, which may be a tuple of objects.
fn collect_fields(row: Value, fields: &mut Map<String, Value>) {
    match row {
        Value::Array(parts) => parts.into_iter().for_each(|part| collect_fields(part, fields)),
        Value::Object(object) => {
            for (name, value) in object {
                let Value::Array(tasks) = value else {
                    fields.insert(name, value);
                    continue;
                };
                for task in &tasks {
                    let name = task["name"].as_str().unwrap_or_default().replace([' ', '/'], "_");
                    fields.insert(name.clone(), task["value"].clone());
                    fields.insert(format!("{name}_stderr"), task["stderr"].clone());
                }
            }
        }
        _ => {}
    }
}

/// Figures from elsewhere for a last row: its title, and the accuracy in percent of a task where it is known.
pub(crate) type Elsewhere<'a> = (&'a str, &'a dyn Fn(&str) -> Option<f64>);

/// Accuracies in percent, a column for each task; `None` where none were measured.
pub(crate) fn task_table(rows: &[CompareRow], elsewhere: Option<Elsewhere<'_>>) -> Option<String> {
    let columns = &rows.first().filter(|row| !row.tasks.is_empty())?.tasks;
    let titles: Vec<String> = columns.iter().map(|c| format!("{}, %", c.name)).collect();
    let mut header = vec!["method", "settings", "code bits", "group"];
    header.extend(titles.iter().map(String::as_str));
    let percent = |column: &TaskColumn| match column.stderr {
        Some(stderr) => format!("{:.2} ± {:.2}", column.value * 100.0, stderr * 100.0),
        None => format!("{:.2}", column.value * 100.0),
    };
    let cells = rows
        .iter()
        .map(|row| cells(row).into_iter().take(4).chain(row.tasks.iter().map(percent)).collect());
    let last = elsewhere.map(|(title, accuracy)| {
        let known = |column: &TaskColumn| match accuracy(&column.name) {
            Some(percent) => format!("{percent:.2}"),
            None => "-".to_owned(),
        };
        let blank = [String::new(), String::new(), String::new()];
        [title.to_owned()].into_iter().chain(blank).chain(columns.iter().map(known)).collect()
    });
    Some(table(&header, cells.chain(last)))
}

fn cells(row: &CompareRow) -> Vec<String> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |v| format!("{v:.digits$}"))
    };
    let count = |value: Option<usize>| value.map_or_else(String::new, |v| v.to_string());
    vec![
        row.method.clone(),
        row.settings.clone(),
        count(row.bits.map(usize::from)),
        count(row.group_size),
        number(Some(row.bits_per_weight), 3),
        number(Some(row.weight_bits), 3),
        number(Some(row.perplexity), 3),
        number(row.kl, 5),
        number(row.kl_stderr, 5),
        megabytes(row.total_bytes),
        number(row.cpu_seconds, 1),
        row.peak_rss_bytes.map_or_else(String::new, megabytes),
    ]
}
