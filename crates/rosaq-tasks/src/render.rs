//! Rows to questions, by a task's templates.

use std::collections::BTreeSet;

use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Expression, Template};

use crate::error::Place;
use crate::read::Row;
use crate::{Metric, Task, TaskError};

/// One question as it is put to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Row of the file, from 0.
    pub row: usize,
    /// Context and continuation of each choice; the score is that of the continuation.
    pub requests: Vec<(String, String)>,
    /// Index of the right choice.
    pub gold: usize,
    /// Code points of each choice's text, where `acc_norm` is measured.
    pub lengths: Option<Vec<usize>>,
}

/// A task's templates, ready to be filled.
pub(crate) struct Renderer<'a> {
    task: &'a Task,
    context: Template<'a, 'a>,
    description: Template<'a, 'a>,
    options: Option<Expression<'a, 'a>>,
    choices: Expression<'a, 'a>,
    answers: Option<Expression<'a, 'a>>,
    answer: Expression<'a, 'a>,
    /// Every name that they use.
    names: BTreeSet<String>,
}

/// What a question's template is filled with.
struct Filled {
    contexts: Vec<String>,
    choices: Vec<String>,
    gold: usize,
}

impl<'a> Renderer<'a> {
    /// Compiles the templates, which [`Task::parse`] has tried before.
    pub(crate) fn new(task: &'a Task, env: &'a Environment<'a>) -> Result<Self, TaskError> {
        let bad = |error: Error| TaskError::BadSpec {
            file: task.name.clone(),
            field: "templates",
            reason: error.to_string(),
        };
        let optional = |text: &'a Option<String>| {
            text.as_ref().map(|text| env.compile_expression(text)).transpose()
        };
        let mut renderer = Self {
            task,
            names: BTreeSet::new(),
            context: env.template_from_named_str("context", &task.context).map_err(bad)?,
            description: env
                .template_from_named_str("description", &task.description)
                .map_err(bad)?,
            options: optional(&task.options).map_err(bad)?,
            choices: env.compile_expression(&task.choices).map_err(bad)?,
            answers: optional(&task.answers).map_err(bad)?,
            answer: env.compile_expression(&task.answer).map_err(bad)?,
        };
        let required = [&renderer.choices, &renderer.answer];
        let optional = renderer.options.iter().chain(&renderer.answers);
        let expressions = required.into_iter().chain(optional);
        let in_context = renderer.context.undeclared_variables(false);
        let names = expressions.flat_map(|e| e.undeclared_variables(false)).chain(in_context);
        renderer.names = names.filter(|name| name != "part" && name != "option").collect();
        Ok(renderer)
    }

    /// What stands before every question of a part: the description, then `shots` with their answers.
    pub(crate) fn prefix(
        &self,
        part: Option<&str>,
        shots: &[(Place<'_>, &Row)],
        place: Place<'_>,
    ) -> Result<String, TaskError> {
        let row = context_value(&Row::new(), part, None);
        let described = self.description.render(row);
        let mut prefix = described.map_err(|e| self.failed("description", place, e))?;
        for (place, row) in shots {
            let Filled { contexts, choices, gold } = self.fill(row, part, *place)?;
            prefix += contexts.get(gold).unwrap_or(&contexts[0]);
            prefix += &self.task.delimiter;
            prefix += choices.get(gold).unwrap_or(&choices[0]);
            prefix += &self.task.shot_separator;
        }
        Ok(prefix)
    }

    /// The question of one row.
    pub(crate) fn question(
        &self,
        prefix: &str,
        row: &Row,
        part: Option<&str>,
        place: Place<'_>,
    ) -> Result<Question, TaskError> {
        let Filled { contexts, choices, gold } = self.fill(row, part, place)?;
        let n = contexts.len().max(choices.len());
        let requests = (0..n)
            .map(|i| {
                let context = contexts.get(i).unwrap_or(&contexts[0]);
                let choice = choices.get(i).unwrap_or(&choices[0]);
                (format!("{prefix}{context}"), format!("{}{choice}", self.task.delimiter))
            })
            .collect();
        let lengths = self.task.metrics.contains(&Metric::AccNorm);
        let lengths = lengths.then(|| choices.iter().map(|c| c.chars().count()).collect());
        Ok(Question { row: place.row - 1, requests, gold, lengths })
    }

    fn fill(&self, row: &Row, part: Option<&str>, place: Place<'_>) -> Result<Filled, TaskError> {
        self.try_fill(row, part, place).map_err(|error| match error {
            TaskError::Template { path, row: row_number, task, source, field }
                if source.kind() == ErrorKind::UndefinedError =>
            {
                // The engine does not always say what is undefined.
                match self.names.iter().find(|&name| !row.contains_key(name)) {
                    None => TaskError::Template { path, row: row_number, task, source, field },
                    Some(name) => {
                        TaskError::MissingField { path, row: row_number, task, field: name.clone() }
                    }
                }
            }
            other => other,
        })
    }

    fn try_fill(
        &self,
        row: &Row,
        part: Option<&str>,
        place: Place<'_>,
    ) -> Result<Filled, TaskError> {
        let values = context_value(row, part, None);
        let choices = self.texts("choices", &self.choices, &values, place)?;
        let contexts = match &self.options {
            None => vec![self.context(values.clone(), place)?],
            Some(options) => {
                let options = self.texts("options", options, &values, place)?;
                let one =
                    |option: &String| self.context(context_value(row, part, Some(option)), place);
                options.iter().map(one).collect::<Result<_, _>>()?
            }
        };
        let n = if self.options.is_some() { contexts.len() } else { choices.len() };
        let field = if self.options.is_some() { "options" } else { "choices" };
        if n < 2 {
            return Err(self.unfit(field, place, "at least 2", n.to_string()));
        }
        if self.options.is_some() && choices.len() != 1 {
            let found = choices.len().to_string();
            return Err(self.unfit("choices", place, "1 text behind all options", found));
        }
        if let Some(empty) = choices.iter().position(String::is_empty) {
            let found = format!("an empty text at {}", empty + 1);
            return Err(self.unfit("choices", place, "texts", found));
        }
        let gold = self.gold(n, &values, place)?;
        Ok(Filled { contexts, choices, gold })
    }

    fn context(&self, values: Value, place: Place<'_>) -> Result<String, TaskError> {
        self.context.render(values).map_err(|e| self.failed("context", place, e))
    }

    fn gold(&self, n: usize, values: &Value, place: Place<'_>) -> Result<usize, TaskError> {
        let answers = match &self.answers {
            Some(answers) => self.texts("answers", answers, values, place)?,
            None => (0..n).map(|i| i.to_string()).collect(),
        };
        if answers.len() != n {
            let found = format!("{} for {n} choices", answers.len());
            return Err(self.unfit("answers", place, "one for each choice", found));
        }
        let answer = self.answer.eval(values).map_err(|e| self.failed("answer", place, e))?;
        let found = match answer.kind() {
            ValueKind::Undefined | ValueKind::None => None,
            _ => Some(answer.to_string()),
        };
        let gold = found.as_ref().and_then(|found| answers.iter().position(|a| a == found));
        gold.ok_or_else(|| TaskError::Answer {
            path: place.path.to_owned(),
            row: place.row,
            answers,
            found: found.map_or_else(|| "none".to_owned(), |found| format!("{found:?}")),
        })
    }

    /// A list of texts; numbers count as texts.
    fn texts(
        &self,
        field: &'static str,
        expression: &Expression<'_, '_>,
        values: &Value,
        place: Place<'_>,
    ) -> Result<Vec<String>, TaskError> {
        let list = expression.eval(values).map_err(|e| self.failed(field, place, e))?;
        if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
            return Err(self.unfit(field, place, "a list of texts", list.kind().to_string()));
        }
        let items = list.try_iter().map_err(|e| self.failed(field, place, e))?;
        items
            .map(|item| match item.kind() {
                ValueKind::String | ValueKind::Number => Ok(item.to_string()),
                kind => Err(self.unfit(field, place, "a list of texts", format!("{kind} in it"))),
            })
            .collect()
    }

    fn failed(&self, field: &'static str, place: Place<'_>, source: Error) -> TaskError {
        let (path, row) = (place.path.to_owned(), place.row);
        TaskError::Template { path, row, task: self.task.name.clone(), field, source }
    }

    fn unfit(
        &self,
        field: &'static str,
        place: Place<'_>,
        expected: &'static str,
        found: String,
    ) -> TaskError {
        let (path, row) = (place.path.to_owned(), place.row);
        TaskError::Choices { path, row, task: self.task.name.clone(), field, expected, found }
    }
}

/// The variables of templates.
fn context_value(row: &Row, part: Option<&str>, option: Option<&str>) -> Value {
    let mut row = row.clone();
    for (name, text) in [("part", part), ("option", option)] {
        if let Some(text) = text {
            row.insert(name.to_owned(), text.into());
        }
    }
    Value::from(Serde(row))
}
