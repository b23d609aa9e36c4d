//! A task as its file describes it.

use std::collections::BTreeMap;
use std::iter::successors;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::{Deserialize, Serialize};

use crate::{TaskError, filters};

/// A multiple-choice task.
///
/// `context` and `description` are templates; `options`, `choices`, `answers` and `answer` are expressions. Their variables
/// are the fields of a row, `label` where there is a file of labels, `part` where the task has parts, and in `context`
/// `option` where there are options.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The task's name.
    pub name: String,
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// The metric that stands for the task in averages.
    pub reported: Metric,
    /// Stands once before all questions of a part.
    #[serde(default)]
    pub(crate) description: String,
    /// What stands before the scored text.
    pub(crate) context: String,
    /// Values of `option`: one context for each, with a single choice behind them.
    pub(crate) options: Option<String>,
    /// The texts that are scored.
    pub(crate) choices: String,
    /// What the answer may be, one for each choice; else it is an index from 0.
    pub(crate) answers: Option<String>,
    /// The answer.
    pub(crate) answer: String,
    /// Stands between context and choice and is scored with the choice.
    #[serde(default = "one_space")]
    pub(crate) delimiter: String,
    /// Stands between an example and what follows it.
    #[serde(default = "blank_line")]
    pub(crate) shot_separator: String,
    /// Where the rows are.
    pub(crate) data: DataSpec,
    /// Parts of the task, each with a file of its own, and the groups they are averaged in.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// Where a task's rows are, relative to the folder of all data.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataSpec {
    /// Files, of which the first that exists is taken; `{part}` stands for the part's name.
    pub(crate) files: Vec<String>,
    /// A file of labels beside it, a line for each row; `{stem}` stands for the file's name without its ending.
    pub(crate) labels: Option<String>,
    /// Names of the columns of a CSV file, which has no header.
    pub(crate) columns: Option<Vec<String>>,
    /// Fields that a row of these files has under another name or in another form: expressions of the row's own fields.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
    /// Files of examples.
    #[serde(default)]
    pub(crate) shots: Vec<String>,
    /// Rows of all files together when nothing is missing.
    pub(crate) rows: Option<usize>,
    /// The same rows in another layout, taken where there is none of `files`.
    pub(crate) otherwise: Option<Box<Self>>,
}

impl DataSpec {
    /// This layout and the others, in the order in which they are tried.
    pub(crate) fn layouts(&self) -> impl Iterator<Item = &Self> {
        successors(Some(self), |layout| layout.otherwise.as_deref())
    }

    /// The entry that is wrong, and why.
    fn check(&self, has_parts: bool, env: &Environment<'_>) -> Result<(), (&'static str, String)> {
        if self.files.is_empty() {
            return Err(("data.files", "expected at least one file".to_owned()));
        }
        let names_part = |file: &String| file.contains("{part}");
        if self.files.iter().chain(&self.shots).any(|f| names_part(f) != has_parts) {
            let reason = "files have {part} in their names exactly when `groups` have parts";
            return Err(("data.files", reason.to_owned()));
        }
        for (name, expression) in &self.fields {
            if let Err(error) = env.compile_expression(expression) {
                return Err(("data.fields", format!("`{name}`: {error}")));
            }
        }
        Ok(())
    }
}

/// Parts that are averaged together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Its parts.
    pub parts: Vec<String>,
}

/// How a question is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The likeliest choice is right.
    Acc,
    /// The choice with the largest log-likelihood a code point is right.
    AccNorm,
}

fn one_space() -> String {
    " ".to_owned()
}

fn blank_line() -> String {
    "\n\n".to_owned()
}

impl Task {
    /// Parses the text of a task file, which messages call `file`.
    ///
    /// # Errors
    /// [`TaskError::Spec`] and [`TaskError::BadSpec`].
    pub fn parse(text: &str, file: &str) -> Result<Self, TaskError> {
        let task: Self = toml::from_str(text)
            .map_err(|source| TaskError::Spec { file: file.to_owned(), source })?;
        task.check(file)?;
        Ok(task)
    }

    /// Names of all parts.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| group.parts.iter().map(String::as_str))
    }

    /// Keeps one part alone; whether there was one of this name.
    pub(crate) fn keep_part(&mut self, part: &str) -> bool {
        for group in &mut self.groups {
            group.parts.retain(|p| p == part);
        }
        self.groups.retain(|group| !group.parts.is_empty());
        self.data.rows = None;
        !self.groups.is_empty()
    }

    /// The engine in which templates and expressions of task files are run.
    pub(crate) fn environment() -> Environment<'static> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        env.set_syntax(syntax.unwrap_or_default());
        filters::add(&mut env);
        env
    }

    fn check(&self, file: &str) -> Result<(), TaskError> {
        let bad = |field, reason: String| {
            Err(TaskError::BadSpec { file: file.to_owned(), field, reason })
        };
        if !self.metrics.contains(&self.reported) {
            return bad("reported", "expected one of `metrics`".to_owned());
        }
        if self.options.is_some() && self.metrics.contains(&Metric::AccNorm) {
            let reason =
                "the same text is scored after each of `options`, so `acc_norm` would be `acc`";
            return bad("metrics", reason.to_owned());
        }
        let env = Self::environment();
        let has_parts = self.groups.iter().any(|group| !group.parts.is_empty());
        for (idx, layout) in self.data.layouts().enumerate() {
            layout.check(has_parts, &env).or_else(|(field, reason)| bad(field, reason))?;
            if idx > 0 && layout.rows.is_some() {
                let reason = "another layout holds the same rows; only `data.rows` counts them";
                return bad("data.otherwise.rows", reason.to_owned());
            }
        }
        for (field, template) in [("context", &self.context), ("description", &self.description)] {
            if let Err(error) = env.template_from_named_str(field, template) {
                return bad(field, error.to_string());
            }
        }
        let optional = [("options", &self.options), ("answers", &self.answers)];
        let optional = optional.iter().filter_map(|(field, text)| Some((*field, text.as_ref()?)));
        let required = [("choices", &self.choices), ("answer", &self.answer)];
        for (field, expression) in required.into_iter().chain(optional) {
            if let Err(error) = env.compile_expression(expression) {
                return bad(field, error.to_string());
            }
        }
        Ok(())
    }
}
