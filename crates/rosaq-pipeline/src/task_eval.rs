//! Zero-shot accuracy of a model on multiple-choice tasks.

use std::path::{Path, PathBuf};

use rosaq_eval::{Request, ScoreOptions, Sharing, log_likelihoods};
use rosaq_tasks::{
    EncodedRequest, LoadOptions, ScoredQuestion, TaskData, TaskScore, encode, load, select,
    summarize,
};

use crate::evaluate::Adapter;
use crate::scored::{ScoredQuestions, question_key};
use crate::{EvalModel, PipelineError, Progress};

/// Which tasks, and on which data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskJob {
    /// Names of tasks or groups of tasks, as [`select`] takes them.
    pub tasks: Vec<String>,
    /// A task file, or a folder of such.
    pub task_file: Option<PathBuf>,
    /// The folder of all data.
    pub data: PathBuf,
    /// The first so many rows of each file; `None` takes all.
    pub limit: Option<usize>,
    /// Examples with answers before each question.
    pub shots: usize,
    /// Tokens of a question at most; `None` takes what the model was made for.
    pub context: Option<usize>,
}

/// Tasks with their questions, for any model.
#[derive(Debug)]
pub struct TaskQuestions {
    tasks: Vec<TaskData>,
    context: Option<usize>,
}

/// What a model scored.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskScores {
    /// The figures of each task.
    pub tasks: Vec<TaskScore>,
    /// Every question, in the order of the data.
    pub questions: Vec<ScoredQuestion>,
}

/// Where scores are kept while a model is measured, and whether work is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep<'a> {
    /// In a directory; a killed run goes on from there, and what is known is not computed again.
    In {
        /// The directory.
        dir: &'a Path,
        /// Forget what is there.
        fresh: bool,
    },
    /// Nowhere.
    Nowhere(Sharing),
}

/// Tokens that go through the model between two savings, counted before common beginnings are found: what a killed run loses
/// at most. Enough for streaming a model's weights to cost little beside the products.
const TOKENS_PER_SAVING: usize = 8192;

impl TaskQuestions {
    /// Reads the questions of a job.
    ///
    /// # Errors
    /// Unknown tasks; whatever is wrong with the data, with file and row.
    pub fn load(job: &TaskJob, progress: Progress) -> Result<Self, PipelineError> {
        let options = LoadOptions { limit: job.limit, shots: job.shots };
        let tasks = select(&job.tasks, job.task_file.as_deref())?;
        let tasks = tasks.iter().map(|task| load(task, &job.data, options));
        let tasks = tasks.collect::<Result<Vec<_>, _>>()?;
        for TaskData { task, missing, .. } in tasks.iter().filter(|t| !t.missing.is_empty()) {
            let n = missing.len();
            let (name, first) = (&task.name, missing[0].display());
            progress.say(&format!(
                "warning: {name}: no data of {n} of its parts, such as \"{first}\"; averages are over the others"
            ));
        }
        Ok(Self { tasks, context: job.context })
    }
}

impl EvalModel {
    /// Scores every question and sums up.
    ///
    /// # Errors
    /// Questions that the tokenizer or the model cannot take; forward-pass errors; disk errors.
    pub fn score_tasks(
        &self,
        questions: &TaskQuestions,
        keep: Keep<'_>,
        progress: Progress,
    ) -> Result<TaskScores, PipelineError> {
        let max_length = questions.context.unwrap_or_else(|| self.model().config().max_positions);
        let (mut scored, sharing) = match keep {
            Keep::In { dir, fresh } => {
                (ScoredQuestions::open(dir, &self.fingerprint()?, fresh)?, Sharing::Shared)
            }
            Keep::Nowhere(sharing) => (ScoredQuestions::nowhere(), sharing),
        };
        let mut keyed = Vec::new();
        for task in &questions.tasks {
            for part in &task.parts {
                let encoded = encode(part, self.tokenizer(), max_length)?;
                keyed.push(
                    encoded
                        .into_iter()
                        .map(|requests| Keyed {
                            key: question_key(&requests, max_length),
                            requests,
                        })
                        .collect::<Vec<_>>(),
                );
            }
        }
        let unknown: Vec<&Keyed> =
            keyed.iter().flatten().filter(|q| scored.get(&q.key).is_none()).collect();
        let options = ScoreOptions { max_length, sharing };
        self.score_unknown(&unknown, options, &mut scored, progress)?;
        let mut parts = keyed.iter().map(|part| {
            part.iter().map(|q| scored.get(&q.key).cloned().unwrap_or_default()).collect()
        });
        let mut found = TaskScores { tasks: Vec::new(), questions: Vec::new() };
        for task in &questions.tasks {
            let of_task: Vec<Vec<Vec<f32>>> = parts.by_ref().take(task.parts.len()).collect();
            let (score, mut answered) = summarize(task, &of_task);
            found.tasks.push(score);
            found.questions.append(&mut answered);
        }
        Ok(found)
    }

    fn score_unknown(
        &self,
        questions: &[&Keyed],
        options: ScoreOptions,
        scored: &mut ScoredQuestions,
        progress: Progress,
    ) -> Result<(), PipelineError> {
        let stage = progress.stage("tasks");
        let total: usize = questions.iter().map(|q| q.n_tokens()).sum();
        let (mut rest, mut n_done) = (questions, 0);
        while !rest.is_empty() {
            let mut n_tokens = 0;
            let fits = rest.iter().take_while(|question| {
                n_tokens += question.n_tokens();
                n_tokens <= TOKENS_PER_SAVING
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let weight: usize = now.iter().map(|q| q.n_tokens()).sum();
            let requests: Vec<Request> = now.iter().flat_map(|q| q.requests()).collect();
            let report = |share| stage.set((n_done as f64 + share * weight as f64) / total as f64);
            let scores = log_likelihoods(&Adapter(self.model()), &requests, options, &report)?;
            let mut scores = &scores[..];
            scored.add(now.iter().map(|question| {
                let (own, others) = scores.split_at(question.requests.len());
                scores = others;
                (question.key.clone(), own.to_vec())
            }))?;
            n_done += weight;
            rest = later;
        }
        if total > 0 {
            stage.finish();
        }
        Ok(())
    }
}

/// A question's tokens and what it is known by.
struct Keyed {
    key: String,
    requests: Vec<EncodedRequest>,
}

impl Keyed {
    /// About what the question costs: the longest context and all continuations.
    fn n_tokens(&self) -> usize {
        let contexts = self.requests.iter().map(|r| r.context.len());
        let continuations: usize = self.requests.iter().map(|r| r.continuation.len()).sum();
        contexts.max().unwrap_or(0) + continuations
    }

    fn requests(&self) -> impl Iterator<Item = Request> {
        self.requests
            .iter()
            .map(|r| Request { context: r.context.clone(), continuation: r.continuation.clone() })
    }
}
