//! Marks to the figures of a task.

use serde::Serialize;

use crate::{COMMON_SENSE, Marks, Measure, Metric, Task, TaskData, mark};

/// A question with the scores of its choices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoredQuestion {
    /// The task.
    pub task: String,
    /// The part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Row of the file, from 0.
    pub row: usize,
    /// Index of the right choice.
    pub gold: usize,
    /// Context and continuation of each choice.
    pub requests: Vec<(String, String)>,
    /// Natural-log likelihood of each continuation.
    pub log_likelihoods: Vec<f32>,
    /// Whether the likeliest choice is right.
    pub acc: bool,
    /// The same by code point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc_norm: Option<bool>,
}

/// The figures of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskScore {
    /// The task.
    pub task: String,
    /// Rows scored.
    pub rows: usize,
    /// Rows of the whole data set.
    pub rows_of_all: Option<usize>,
    /// Accuracy.
    pub acc: Measure,
    /// Accuracy by code point.
    pub acc_norm: Option<Measure>,
    /// The metric that stands for the task.
    pub reported: Metric,
    /// Groups of parts, weighted by rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupScore>,
    /// The parts, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<GroupScore>,
    /// Where the rows come from: the file, or that of the first part.
    pub file: String,
}

/// Accuracy of a part or of a group of parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupScore {
    /// Its name.
    pub name: String,
    /// Rows scored.
    pub rows: usize,
    /// Accuracy over them.
    pub acc: Measure,
}

impl TaskScore {
    /// The figure that stands for the task.
    #[must_use]
    pub fn reported(&self) -> Measure {
        match self.reported {
            Metric::Acc => self.acc,
            Metric::AccNorm => self.acc_norm.unwrap_or(self.acc),
        }
    }
}

/// Marks every question of `data` by `log_likelihoods`, given part by part and question by question. Every question counts
/// once: groups and the whole are weighted by rows.
///
/// # Panics
/// If `log_likelihoods` has another number of parts, questions or choices.
#[must_use]
pub fn summarize(
    data: &TaskData,
    log_likelihoods: &[Vec<Vec<f32>>],
) -> (TaskScore, Vec<ScoredQuestion>) {
    assert_eq!(data.parts.len(), log_likelihoods.len(), "parts");
    let task = &data.task;
    let (mut scored, mut by_part) = (Vec::new(), Vec::new());
    for (part, scores) in data.parts.iter().zip(log_likelihoods) {
        assert_eq!(part.questions.len(), scores.len(), "questions");
        let mut tally = Tally::default();
        for (question, scores) in part.questions.iter().zip(scores) {
            assert_eq!(question.requests.len(), scores.len(), "choices");
            let marks = mark(scores, question.gold, question.lengths.as_deref());
            tally.add(marks);
            scored.push(ScoredQuestion {
                task: task.name.clone(),
                part: part.name.clone(),
                row: question.row,
                gold: question.gold,
                requests: question.requests.clone(),
                log_likelihoods: scores.clone(),
                acc: marks.acc,
                acc_norm: marks.acc_norm,
            });
        }
        by_part.push((part, tally));
    }
    let all = by_part.iter().fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally));
    let parts = by_part.iter().filter_map(|(part, tally)| tally.named(part.name.as_ref()?));
    let groups = task.groups.iter().filter_map(|group| {
        let of_group = by_part.iter().filter(|(part, _)| part.group.as_ref() == Some(&group.name));
        of_group.fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally)).named(&group.name)
    });
    let score = TaskScore {
        task: task.name.clone(),
        rows: all.rows,
        rows_of_all: task.data.rows,
        acc: Measure::of(all.acc, all.rows),
        acc_norm: has_acc_norm(task).then(|| Measure::of(all.acc_norm, all.rows)),
        reported: task.reported,
        groups: groups.collect(),
        parts: parts.collect(),
        file: data.parts.first().map(|part| part.file.display().to_string()).unwrap_or_default(),
    };
    (score, scored)
}

/// The plain mean of the seven common-sense tasks' reported figures, where all of them are there.
#[must_use]
pub fn common_sense_average(scores: &[TaskScore]) -> Option<f64> {
    let value = |name: &&str| Some(scores.iter().find(|s| s.task == *name)?.reported().value);
    let values = COMMON_SENSE.iter().map(value).collect::<Option<Vec<f64>>>()?;
    Some(values.iter().sum::<f64>() / values.len() as f64)
}

fn has_acc_norm(task: &Task) -> bool {
    task.metrics.contains(&Metric::AccNorm)
}

/// Counts of rows and right answers.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    rows: usize,
    acc: usize,
    acc_norm: usize,
}

impl Tally {
    fn add(&mut self, marks: Marks) {
        self.rows += 1;
        self.acc += usize::from(marks.acc);
        self.acc_norm += usize::from(marks.acc_norm == Some(true));
    }

    fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            acc: self.acc + other.acc,
            acc_norm: self.acc_norm + other.acc_norm,
        }
    }

    fn named(self, name: &str) -> Option<GroupScore> {
        let acc = (self.rows > 0).then(|| Measure::of(self.acc, self.rows))?;
        Some(GroupScore { name: name.to_owned(), rows: self.rows, acc })
    }
}
