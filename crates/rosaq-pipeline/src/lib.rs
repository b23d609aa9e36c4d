#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bases;
mod bench;
mod calibrate;
mod channels;
mod compare;
mod error;
mod estimate;
mod evaluate;
mod findings;
mod fingerprint;
mod generate;
mod job;
mod kept_reference;
mod learned;
mod online;
mod paper;
mod place;
mod present;
mod progress;
mod quantize;
mod report;
mod resident;
mod scored;
mod sensitivity;
mod tables;
mod task_columns;
mod task_eval;
#[cfg(test)]
mod tests;
mod threads;
mod throughput;
mod tokens;
mod usage;
mod variant;
mod verify;
mod workdir;

pub use bench::{KernelBench, KernelRow, TransformRow, bench_kernels};
pub use calibrate::StatsDir;
pub use channels::{Channel, SiteChannels, attention_channels};
pub use compare::{CompareJob, CompareRow, Comparison, RowOrder, SharedStatistics, compare};
pub use error::PipelineError;
pub use estimate::{Estimate, bits_for_size, estimate};
pub use evaluate::{EvalModel, EvalText, EvalTokens, Reference, logits};
pub use findings::{BlockFindings, RotatedChannels};
pub use generate::TextModel;
pub use job::{Amount, CalibrationSet, QuantizeJob};
pub use learned::Learning;
pub use paper::{Paper, PaperChannel, PaperValue};
pub use place::Place;
pub use present::{write_comparison_html, write_html, write_model_card};
pub use progress::{Progress, Stage};
pub use quantize::quantize;
pub use report::{Evaluation, GoldenLogits, QuantizeReport, read_report, write_report};
pub use rosaq_calib::{Products, TokenWeighting};
pub use rosaq_cpu::bf16_is_fast;
pub use rosaq_eval::Sharing;
pub use rosaq_generate::{EndReason, Generated, Message, Request, Sampler, Sampling};
pub use rosaq_methods::{
    Method, MethodError, MethodSettings, OutputRotation, Part, Preset, Setting, find, heeding,
    unheeded,
};
pub use rosaq_model::SourceModel;
pub use rosaq_rotate::Placement;
pub use rosaq_runtime::Activations;
pub use rosaq_saliency::SaliencyRule;
pub use rosaq_tasks::{
    GroupScore, Measure, Metric, ScoredQuestion, TaskScore, common_sense_average,
};
pub use tables::TableWidth;
pub use task_columns::{TaskColumn, columns};
pub use task_eval::{Keep, TaskJob, TaskQuestions, TaskScores};
pub use threads::on_threads;
pub use throughput::{ThroughputJob, ThroughputRow, ThroughputSpeed, throughput};
pub use tokens::source_tokenizer;
pub use usage::{StageTime, Stopwatch, peak_rss_bytes};
pub use variant::Variant;
pub use verify::{Verified, verify};
