//! `cargo xtask reproduce`: the tables and figures of the ROSAQ paper (arXiv 2506.13472) on any model.

use anyhow::bail;
use rosaq_pipeline::{
    MethodSettings, OutputRotation, Placement, Preset, Progress, SaliencyRule, find,
};

use crate::Outcome;
use crate::command_flags::{PaperItem, ReproduceFlags};
use crate::paper_channels;
use crate::paper_speed;
use crate::paper_table::{Baseline, PaperTable, TableRow};

pub(crate) fn run(flags: &ReproduceFlags) -> anyhow::Result<Outcome> {
    let progress = Progress::detect();
    match flags.item {
        PaperItem::Table1 => methods(flags, "1", progress),
        PaperItem::Tables57 if !flags.table.tasks.any() => {
            bail!("tables 5 to 7 are of accuracies; add `--tasks all --data DIR`")
        }
        PaperItem::Tables57 => methods(flags, "5-7", progress),
        PaperItem::Table2 => saliency_rules(flags, progress),
        PaperItem::Table3 => output_rotations(flags, progress),
        PaperItem::Table4 => paper_speed::run(flags, progress),
        PaperItem::Table8 => paper_channels::table(flags, progress),
        PaperItem::Figure2 => paper_channels::figure(flags, progress),
    }
}

/// Tables 1 and 5 to 7: all methods at each width, with their accuracies on the tasks that were asked for.
fn methods(
    flags: &ReproduceFlags,
    number: &'static str,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let names = ["rtn", "gptq", "awq", "spinquant", "mixed", "rosaq"];
    let methods = names.into_iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let rows = |settings: &MethodSettings| {
        methods.iter().map(|&method| TableRow::new(method, "", settings)).collect()
    };
    run_table(flags, number, Baseline::Fp16, rows, progress)
}

/// Table 2: which eigenvectors are kept in f16.
fn saliency_rules(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let rosaq = find("rosaq")?;
    let rules = [
        ("top", SaliencyRule::Top),
        ("bottom", SaliencyRule::Bottom),
        ("random", SaliencyRule::Random { seed: flags.seed }),
        ("top and bottom", SaliencyRule::TopBottom),
    ];
    let rows = |settings: &MethodSettings| {
        let with = |saliency| MethodSettings { saliency, ..settings.clone() };
        rules.map(|(name, rule)| TableRow::new(rosaq, name, &with(rule))).to_vec()
    };
    run_table(flags, "2", Baseline::First, rows, progress)
}

/// Table 3: what is rotated at the output projection.
fn output_rotations(flags: &ReproduceFlags, progress: Progress) -> anyhow::Result<Outcome> {
    let rosaq = find("rosaq")?;
    let rotations = [
        ("head-wise", OutputRotation::HeadWise),
        ("global", OutputRotation::Global),
        ("none", OutputRotation::None),
    ];
    let rows = |settings: &MethodSettings| {
        let with = |output_rotation| MethodSettings { output_rotation, ..settings.clone() };
        rotations.map(|(name, rotation)| TableRow::new(rosaq, name, &with(rotation))).to_vec()
    };
    run_table(flags, "3", Baseline::First, rows, progress)
}

/// Makes a table: the rows of one width after those of another, as in the paper.
fn run_table(
    flags: &ReproduceFlags,
    number: &'static str,
    baseline: Baseline,
    rows: impl Fn(&MethodSettings) -> Vec<TableRow>,
    progress: Progress,
) -> anyhow::Result<Outcome> {
    let mut all = Vec::new();
    for &bits in &flags.table.bits {
        all.extend(rows(&settings(flags, bits)?));
    }
    PaperTable { number, baseline, rows: all }.run(&flags.table, progress)
}

/// What the flags say, at one width.
pub(crate) fn settings(flags: &ReproduceFlags, bits: u8) -> anyhow::Result<MethodSettings> {
    let mut settings = MethodSettings::new(bits, flags.group_size)?;
    settings.salient = flags.salient;
    settings.salient_per_head = flags.salient_per_head;
    settings.preset = flags.preset.map(Preset::from);
    settings.seed = flags.seed;
    // The paper's layer-wise bases, for the method that has any.
    settings.placement = Some(Placement::Online);
    Ok(settings)
}
