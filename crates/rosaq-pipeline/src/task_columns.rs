//! Accuracies as columns of a comparison.

use rosaq_tasks::{Metric, TaskScore, common_sense_average};
use serde::Serialize;

/// A figure of one model on a task, on a group of a task's parts, or on average.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskColumn {
    /// Task or group.
    pub name: String,
    /// `acc` or `acc_norm`: the one that stands for the task.
    pub metric: Metric,
    /// Rows.
    pub rows: usize,
    /// Share of right answers.
    pub value: f64,
    /// Its standard error; `None` for an average of tasks.
    pub stderr: Option<f64>,
}

/// The columns of the ROSAQ paper's tables 5 to 7: each task's reported figure, in front of it those of its groups, and behind
/// the seven common-sense tasks their average.
#[must_use]
pub fn columns(scores: &[TaskScore]) -> Vec<TaskColumn> {
    let mut columns = Vec::new();
    for score in scores {
        columns.extend(score.groups.iter().map(|group| TaskColumn {
            name: group.name.clone(),
            metric: Metric::Acc,
            rows: group.rows,
            value: group.acc.value,
            stderr: Some(group.acc.stderr),
        }));
        let reported = score.reported();
        columns.push(TaskColumn {
            name: score.task.clone(),
            metric: score.reported,
            rows: score.rows,
            value: reported.value,
            stderr: Some(reported.stderr),
        });
    }
    if let Some(value) = common_sense_average(scores) {
        let of_seven = |s: &&TaskScore| rosaq_tasks::COMMON_SENSE.contains(&s.task.as_str());
        let after =
            columns.iter().rposition(|c| rosaq_tasks::COMMON_SENSE.contains(&c.name.as_str()));
        columns.insert(
            after.map_or(0, |idx| idx + 1),
            TaskColumn {
                name: "average".to_owned(),
                metric: Metric::AccNorm,
                rows: scores.iter().filter(of_seven).map(|s| s.rows).sum(),
                value,
                stderr: None,
            },
        );
    }
    columns
}
