//! The reference's hidden states on disk, so that comparisons in one directory run it once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rosaq_eval::Score;
use rosaq_tensor::{DType, TensorData, TensorStore, write_safetensors};

use crate::PipelineError;

/// A file of final hidden states, `f32 [tokens, hidden_size]`, with their checksum and the model's score.
#[derive(Debug)]
pub(crate) struct KeptReference {
    path: PathBuf,
}

const TENSOR: &str = "hidden";

impl KeptReference {
    /// The file of the reference called `key` in `dir`; there need not be one.
    pub(crate) fn new(dir: &Path, key: &str) -> Self {
        Self { path: dir.join(format!("{}.safetensors", &key[..16])) }
    }

    /// What an earlier run kept: `shape` is tokens x hidden size. A file that is not whole counts for nothing.
    pub(crate) fn load(&self, shape: [usize; 2]) -> Option<(Vec<f32>, Score)> {
        if !self.path.exists() {
            return None;
        }
        let store = TensorStore::open(&self.path).ok()?;
        let view = store.get(TENSOR).ok()?;
        view.expect_shape(&shape).ok()?;
        view.expect_dtype(DType::F32).ok()?;
        let hidden = view.to_f32().ok()?;
        let metadata = store.safetensors_metadata().first()?;
        if metadata.get("blake3")? != blake3::hash(&bytes(&hidden)).to_hex().as_str() {
            return None;
        }
        let number = |key: &str| metadata.get(key)?.parse::<f64>().ok();
        let mean_nll = number("mean_nll")?;
        let score = Score {
            perplexity: mean_nll.exp(),
            mean_nll,
            nll_stderr: number("nll_stderr")?,
            n_tokens: metadata.get("n_tokens")?.parse().ok()?,
            kl: None,
            kl_stderr: None,
        };
        Some((hidden, score))
    }

    /// Keeps `hidden` of `shape` with its `score`.
    pub(crate) fn save(
        &self,
        hidden: &[f32],
        shape: [usize; 2],
        score: &Score,
    ) -> Result<(), PipelineError> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).map_err(PipelineError::disk("create", dir))?;
        }
        let bytes = bytes(hidden);
        // Rust prints a number with as many digits as bring it back exactly.
        let metadata = BTreeMap::from([
            ("blake3".to_owned(), blake3::hash(&bytes).to_hex().to_string()),
            ("mean_nll".to_owned(), score.mean_nll.to_string()),
            ("nll_stderr".to_owned(), score.nll_stderr.to_string()),
            ("n_tokens".to_owned(), score.n_tokens.to_string()),
        ]);
        let tensor = TensorData {
            name: TENSOR.to_owned(),
            dtype: DType::F32,
            shape: shape.to_vec(),
            bytes: Cow::Owned(bytes),
        };
        Ok(write_safetensors(&self.path, &[tensor], metadata)?)
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_states_come_back_bit_for_bit_unless_a_byte_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = KeptReference::new(dir.path(), &"0123456789abcdef".repeat(4));
        assert!(kept.load([3, 2]).is_none());
        let hidden = [0.1, -2.5e-7, 3.0e8, 0.0, -0.0, 1.0];
        let score = Score {
            perplexity: 1.234_567_890_123_4_f64.exp(),
            mean_nll: 1.234_567_890_123_4,
            nll_stderr: 1.0 / 3.0,
            n_tokens: 2,
            kl: None,
            kl_stderr: None,
        };
        kept.save(&hidden, [3, 2], &score).unwrap();
        let (found, its_score) = kept.load([3, 2]).unwrap();
        assert_eq!(bytes(&found), bytes(&hidden));
        assert_eq!(its_score, score);
        assert!(kept.load([2, 3]).is_none());

        let mut file = fs::read(&kept.path).unwrap();
        *file.last_mut().unwrap() ^= 1;
        fs::write(&kept.path, &file).unwrap();
        assert!(kept.load([3, 2]).is_none());
        file.pop();
        fs::write(&kept.path, file).unwrap();
        assert!(kept.load([3, 2]).is_none());
    }
}
