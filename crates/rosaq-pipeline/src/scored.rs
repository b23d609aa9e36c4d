//! Questions that have been scored, kept on disk so that a killed run goes on from them.

use std::collections::HashMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use rosaq_calib::Fingerprint;
use rosaq_tasks::EncodedRequest;
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::fingerprint::hex;
use crate::workdir::lock;

/// Scores by question. A question is known by its tokens, so that other limits and other tasks find what is theirs.
#[derive(Debug)]
pub(crate) struct ScoredQuestions {
    scores: HashMap<String, Vec<f32>>,
    path: PathBuf,
    /// `None` when nothing is kept.
    file: Option<BufWriter<fs::File>>,
    _lock: Option<fs::File>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    question: String,
    log_likelihoods: Vec<f32>,
}

impl ScoredQuestions {
    /// Keeps nothing.
    pub(crate) fn nowhere() -> Self {
        Self { scores: HashMap::new(), path: PathBuf::new(), file: None, _lock: None }
    }

    /// Those of `model` in the directory `dir`, which is made; `fresh` forgets them.
    pub(crate) fn open(
        dir: &Path,
        model: &Fingerprint,
        fresh: bool,
    ) -> Result<Self, PipelineError> {
        fs::create_dir_all(dir).map_err(PipelineError::disk("create", dir))?;
        let lock = lock(dir, dir)?;
        let path = dir.join(format!("{}.jsonl", &hex(model)[..16]));
        let mut scores = HashMap::new();
        let mut whole = String::new();
        if !fresh && path.exists() {
            let bytes = fs::read(&path).map_err(PipelineError::disk("read", &path))?;
            // A run killed while it wrote leaves half a line, which is dropped.
            for line in String::from_utf8_lossy(&bytes).split_inclusive('\n') {
                let parsed = line.ends_with('\n').then(|| serde_json::from_str::<Line>(line));
                let Some(Ok(parsed)) = parsed else { break };
                whole += line;
                scores.insert(parsed.question, parsed.log_likelihoods);
            }
        }
        let failed = PipelineError::disk("write", &path);
        let temporary = dir.join(".scored.tmp");
        let opened = fs::write(&temporary, whole)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| fs::File::options().append(true).open(&path));
        let file = Some(BufWriter::new(opened.map_err(failed)?));
        Ok(Self { scores, path, file, _lock: Some(lock) })
    }

    /// The scores of a question, if known.
    pub(crate) fn get(&self, question: &str) -> Option<&Vec<f32>> {
        self.scores.get(question)
    }

    /// Adds scores; they are on disk when this returns.
    pub(crate) fn add(
        &mut self,
        scored: impl IntoIterator<Item = (String, Vec<f32>)>,
    ) -> Result<(), PipelineError> {
        for (question, log_likelihoods) in scored {
            if let Some(file) = &mut self.file {
                let line =
                    Line { question: question.clone(), log_likelihoods: log_likelihoods.clone() };
                let written = serde_json::to_writer(&mut *file, &line).map_err(Into::into);
                written
                    .and_then(|()| file.write_all(b"\n"))
                    .map_err(PipelineError::disk("write", &self.path))?;
            }
            self.scores.insert(question, log_likelihoods);
        }
        match &mut self.file {
            Some(file) => file.flush().map_err(PipelineError::disk("write", &self.path)),
            None => Ok(()),
        }
    }
}

/// What a question is known by: its tokens and how many of them the model takes at once.
pub(crate) fn question_key(requests: &[EncodedRequest], max_length: usize) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut number = |n: usize| {
        hasher.update(&(n as u64).to_le_bytes());
    };
    number(max_length);
    for request in requests {
        number(request.context.len());
        number(request.continuation.len());
        for &id in request.context.iter().chain(&request.continuation) {
            number(id as usize);
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_dropped_and_the_rest_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let scores = vec![-0.1_f32, -123.456_79, f32::MIN_POSITIVE];
        let open = |fresh| ScoredQuestions::open(dir.path(), &[7; 32], fresh).unwrap();
        let mut scored = open(false);
        scored.add([("a".to_owned(), scores.clone()), ("b".to_owned(), vec![-1.0])]).unwrap();
        let path = scored.path.clone();
        drop(scored);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let mut scored = open(false);
        assert_eq!(scored.get("a"), Some(&scores));
        assert_eq!(scored.get("b"), None);
        scored.add([("c".to_owned(), vec![-2.0])]).unwrap();
        drop(scored);
        let scored = open(false);
        assert!(scored.get("a").is_some() && scored.get("c").is_some());
        drop(scored);
        assert_eq!(open(true).get("a"), None);
    }

    #[test]
    fn questions_are_told_apart_by_every_token_and_border() {
        let request = |context: &[u32], continuation: &[u32]| EncodedRequest {
            context: context.to_vec(),
            continuation: continuation.to_vec(),
        };
        let keys = [
            question_key(&[request(&[1, 2], &[3])], 9),
            question_key(&[request(&[1], &[2, 3])], 9),
            question_key(&[request(&[1, 2], &[4])], 9),
            question_key(&[request(&[1, 2], &[3])], 8),
            question_key(&[request(&[1, 2], &[3]), request(&[1, 2], &[3])], 9),
        ];
        for (idx, key) in keys.iter().enumerate() {
            assert!(!keys[..idx].contains(key));
        }
    }
}
