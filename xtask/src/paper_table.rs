//! A table of the paper on another model: our rows in the paper's order, its own figures beside them.

use rosaq_pipeline::{
    CompareJob, CompareRow, Comparison, Method, MethodSettings, Paper, Progress, RowOrder, Variant,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::command_flags::TableFlags;
use crate::compare::{print_where, run_variants, task_table, write_csv};
use crate::output::{print_json, print_text, table};

/// The model of the paper whose figures are shown.
const PAPER_MODEL: &str = "LLaMA2-7B";

/// What a row's perplexity is set against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// The source model.
    Fp16,
    /// The first row of the same width: in an ablation, the paper's choice.
    First,
}

/// A row to be.
#[derive(Debug, Clone)]
pub(crate) struct TableRow {
    /// What sets it apart from others of its method; empty in a table of methods.
    variant: &'static str,
    what: Variant,
}

impl TableRow {
    pub(crate) fn new(
        method: &'static dyn Method,
        variant: &'static str,
        settings: &MethodSettings,
    ) -> Self {
        Self { variant, what: Variant::new(method, settings) }
    }
}

/// A table of the paper.
pub(crate) struct PaperTable {
    /// Its number there.
    pub(crate) number: &'static str,
    pub(crate) baseline: Baseline,
    /// Widths one after another.
    pub(crate) rows: Vec<TableRow>,
}

/// What stands beside a row of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Beside {
    /// The row's name in the table.
    name: String,
    /// Rise of perplexity over the baseline, percent.
    perplexity_increase_percent: Option<f64>,
    /// The model of the paper.
    paper_model: &'static str,
    /// The perplexity that the paper prints for this row, where it is known.
    paper_perplexity: Option<f64>,
}

impl PaperTable {
    /// Makes the table, prints it and writes it to the files that were asked for.
    pub(crate) fn run(self, flags: &TableFlags, progress: Progress) -> anyhow::Result<Outcome> {
        let variants = self.rows.iter().map(|row| row.what.clone()).collect();
        let (job, found) = run_variants(flags, variants, RowOrder::Given, progress)?;
        let beside = self.beside(&found.rows);
        let rows: Vec<(&CompareRow, &Beside)> = found.rows.iter().zip(&beside).collect();
        write_csv(flags, &rows)?;
        if flags.output.json {
            print_json(&self.json(&job, &found, &rows)?)?;
        } else {
            print_text(&self.human(&rows))?;
            let title = format!("paper, {PAPER_MODEL} fp16");
            if let Some(tasks) = task_table(&found.rows, Some((&title, &paper_accuracy))) {
                print_text(&tasks)?;
            }
            print_where(&job, &found)?;
        }
        Ok(Outcome::Done)
    }

    fn beside(&self, rows: &[CompareRow]) -> Vec<Beside> {
        // FP16 stands above the rows that were asked for.
        let variants = std::iter::once("").chain(self.rows.iter().map(|row| row.variant));
        let one = |(row, variant): (&CompareRow, &str)| {
            let key = (row.method.as_str(), variant, row.bits);
            let name = if variant.is_empty() { row.method.as_str() } else { variant };
            Beside {
                name: name.to_owned(),
                perplexity_increase_percent: self
                    .baseline_of(row, rows)
                    .map(|b| (row.perplexity / b.perplexity - 1.0) * 100.0),
                paper_model: PAPER_MODEL,
                paper_perplexity: Paper::known().value(self.number, PAPER_MODEL, key, "perplexity"),
            }
        };
        rows.iter().zip(variants).map(one).collect()
    }

    /// The row with which `row` is compared, unless it is that itself.
    fn baseline_of<'a>(&self, row: &CompareRow, rows: &'a [CompareRow]) -> Option<&'a CompareRow> {
        let bits = match self.baseline {
            Baseline::Fp16 => None,
            Baseline::First => row.bits,
        };
        let baseline = rows.iter().find(|r| r.bits == bits)?;
        (row.bits.is_some() && baseline != row).then_some(baseline)
    }

    fn json(
        &self,
        job: &CompareJob,
        found: &Comparison,
        rows: &[(&CompareRow, &Beside)],
    ) -> anyhow::Result<Value> {
        let one = |(row, beside): &(&CompareRow, &Beside)| -> anyhow::Result<Value> {
            let mut value = serde_json::to_value(row)?;
            if let (Value::Object(row), Value::Object(more)) =
                (&mut value, serde_json::to_value(beside)?)
            {
                row.extend(more);
            }
            Ok(value)
        };
        let rows = rows.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
        let paper = Paper::known();
        let tasks = found.rows.first().map_or(&[][..], |row| &row.tasks);
        let accuracies: Map<String, Value> = tasks
            .iter()
            .filter_map(|task| Some((task.name.clone(), json!(paper_accuracy(&task.name)?))))
            .collect();
        Ok(json!({
            "table": self.number, "model": job.model.display().to_string(), "rows": rows,
            "calibration": found.calibration,
            "paper": { "source": paper.source, "model": PAPER_MODEL, "salient": paper.salient,
                "salient_per_head": paper.salient_per_head, "group_size": paper.group_size, "fp16_accuracy_percent": accuracies },
        }))
    }

    fn human(&self, rows: &[(&CompareRow, &Beside)]) -> String {
        let delta = match self.baseline {
            Baseline::Fp16 => "Δ to fp16, %".to_owned(),
            Baseline::First => format!("Δ to {}, %", self.rows.first().map_or("", |r| r.variant)),
        };
        let theirs = format!("paper, {PAPER_MODEL}");
        let header = [
            if self.baseline == Baseline::Fp16 { "method" } else { "variant" },
            "code bits",
            "K",
            "weight bits",
            "bits/weight",
            "perplexity",
            &delta,
            "KL, nats",
            "±",
            &theirs,
        ];
        let paper = Paper::known();
        format!(
            "{}\nK: f16 channels, and those of each head or of all heads at o; groups as given. Paper: perplexity of {PAPER_MODEL} on WikiText-2 at K = {}, {} a \
             head, groups of {} ({}); -: not recorded",
            table(&header, rows.iter().map(|(row, beside)| cells(row, beside))),
            paper.salient,
            paper.salient_per_head,
            paper.group_size,
            paper.source
        )
    }
}

/// The accuracy in percent that the paper prints for its FP16 model.
fn paper_accuracy(task: &str) -> Option<f64> {
    Paper::known().value("5-7", PAPER_MODEL, ("fp16", "", None), task)
}

fn cells(row: &CompareRow, beside: &Beside) -> Vec<String> {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(String::new, |v| format!("{v:.digits$}"))
    };
    let salient = match (row.salient, row.salient_per_head, row.salient_of_heads) {
        (Some(k), Some(h), _) => format!("{k}, {h} a head"),
        (Some(k), None, Some(o)) => format!("{k}, {o} at o"),
        (Some(k), None, None) => k.to_string(),
        (None, ..) => String::new(),
    };
    vec![
        beside.name.clone(),
        row.bits.map_or_else(String::new, |b| b.to_string()),
        salient,
        number(Some(row.weight_bits), 3),
        number(Some(row.bits_per_weight), 3),
        number(Some(row.perplexity), 3),
        beside.perplexity_increase_percent.map_or_else(String::new, |d| format!("{d:+.2}")),
        number(row.kl, 5),
        number(row.kl_stderr, 5),
        beside.paper_perplexity.map_or_else(|| "-".to_owned(), |p| p.to_string()),
    ]
}
