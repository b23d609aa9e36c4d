//! The configuration of a model from GGUF metadata.

use std::path::Path;

use rosaq_tensor::{GgufMetadata, TensorStore};
use serde_json::{Map, Value, json};

use crate::{ModelConfig, ModelError, Role, RopeScaling, find_gguf_architecture};

/// The tensor that holds LLaMA 3's frequency divisors.
pub(crate) const ROPE_DIVISORS: &str = "rope_freqs.weight";

impl ModelConfig {
    /// Reads the configuration out of a GGUF file's metadata.
    ///
    /// # Errors
    /// Names the key that is missing, and unknown architectures.
    pub fn from_gguf(store: &TensorStore, gguf: &GgufMetadata) -> Result<Self, ModelError> {
        let keys = Keys { path: store.path(), gguf, arch: gguf.get_str("general.architecture")? };
        let family = find_gguf_architecture(keys.arch, keys.path)?;
        let hidden_size = keys.size("embedding_length")?;
        let n_heads = keys.size("attention.head_count")?;
        let vocab = store.get("token_embd.weight")?;
        let mut config = Self {
            family,
            hidden_size,
            intermediate_size: keys.size("feed_forward_length")?,
            n_layers: keys.size("block_count")?,
            n_heads,
            n_kv_heads: keys.optional("attention.head_count_kv")?.unwrap_or(n_heads),
            head_dim: keys.optional("attention.key_length")?.unwrap_or(hidden_size / n_heads),
            vocab_size: vocab.shape.first().copied().unwrap_or(0),
            max_positions: keys.optional("context_length")?.unwrap_or(2048),
            rms_norm_eps: gguf.get_f32(&keys.key("attention.layer_norm_rms_epsilon"))?,
            rope_theta: gguf.get_f32(&keys.key("rope.freq_base")).map_or(10_000.0, f64::from), // the format's default
            rope_scaling: keys.rope_scaling(store)?,
            // As in the Hugging Face configuration that is written for the family.
            sliding_window: match family.reads_sliding_window {
                true => keys.optional("attention.sliding_window")?,
                false => None,
            },
            tied_embeddings: !store.contains("output.weight"),
            biased: family.biased.to_vec(),
            hf: Map::new(),
        };
        config.check(store.path())?;
        config.hf = config.to_hf(gguf);
        Ok(config)
    }

    fn to_hf(&self, gguf: &GgufMetadata) -> Map<String, Value> {
        let mut hf = Map::new();
        let mut put = |key: &str, value: Value| drop(hf.insert(key.to_owned(), value));
        put("architectures", json!([self.family.architecture]));
        put("model_type", json!(self.family.name));
        put("hidden_act", json!("silu"));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.n_layers));
        put("num_attention_heads", json!(self.n_heads));
        put("num_key_value_heads", json!(self.n_kv_heads));
        put("head_dim", json!(self.head_dim));
        put("vocab_size", json!(self.vocab_size));
        put("max_position_embeddings", json!(self.max_positions));
        put("rms_norm_eps", shortest(self.rms_norm_eps));
        put("rope_theta", json!(self.rope_theta));
        match &self.rope_scaling {
            RopeScaling::Linear { factor } => {
                put("rope_scaling", json!({"rope_type": "linear", "factor": factor}));
            }
            RopeScaling::Divisors(divisors) => {
                let divisors: Vec<_> = divisors.iter().map(|&d| shortest(d)).collect();
                put("rope_scaling", json!({"rope_type": "divisors", "divisors": divisors}));
            }
            RopeScaling::None | RopeScaling::Llama3 { .. } => {}
        }
        if let Some(window) = self.sliding_window {
            put("sliding_window", json!(window));
        }
        put("tie_word_embeddings", json!(self.tied_embeddings));
        for (field, key) in [("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id")] {
            if let Ok(id) = gguf.get_u32(&format!("tokenizer.ggml.{key}")) {
                put(field, json!(id));
            }
        }
        put("torch_dtype", json!("float16"));
        hf
    }
}

/// The f32 as the shortest decimal that means it, instead of its exact f64 expansion.
fn shortest(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, |x| json!(x))
}

struct Keys<'a> {
    path: &'a Path,
    gguf: &'a GgufMetadata,
    arch: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    fn optional(&self, name: &str) -> Result<Option<usize>, ModelError> {
        match self.gguf.get_u64(&self.key(name)) {
            Err(_) => Ok(None),
            Ok(n) => match usize::try_from(n) {
                Ok(n) if (1..1 << 24).contains(&n) => Ok(Some(n)),
                _ => self.fail(name, format!("{n} is out of range")),
            },
        }
    }

    fn size(&self, name: &str) -> Result<usize, ModelError> {
        match self.optional(name)? {
            Some(n) => Ok(n),
            None => self.fail(name, "is missing or no number".to_owned()),
        }
    }

    fn fail<T>(&self, name: &str, reason: String) -> Result<T, ModelError> {
        Err(ModelError::ConfigField { path: self.path.to_owned(), field: self.key(name), reason })
    }

    fn rope_scaling(&self, store: &TensorStore) -> Result<RopeScaling, ModelError> {
        if store.contains(ROPE_DIVISORS) {
            return Ok(RopeScaling::Divisors(store.get(ROPE_DIVISORS)?.to_f32()?));
        }
        match self.gguf.get_str(&self.key("rope.scaling.type")) {
            Err(_) | Ok("none") => Ok(RopeScaling::None),
            Ok("linear") => {
                let factor = f64::from(self.gguf.get_f32(&self.key("rope.scaling.factor"))?);
                if factor.is_finite() && factor > 0.0 {
                    return Ok(RopeScaling::Linear { factor });
                }
                self.fail("rope.scaling.factor", format!("{factor} is not a positive number"))
            }
            Ok(other) => self.fail(
                "rope.scaling.type",
                format!("`{other}` is not supported; known: none, linear"),
            ),
        }
    }
}

/// Undoes the row order in which GGUF files of the `llama` architecture hold query and key projections: there the two
/// halves of each head's rotary pairs are interleaved, Hugging Face keeps them apart.
pub(crate) fn separate_rotary_halves(rows: &mut [f32], columns: usize, head_dim: usize) {
    let head_len = head_dim * columns;
    let mut head = vec![0.0; head_len];
    for interleaved in rows.chunks_exact_mut(head_len) {
        for (row_idx, row) in interleaved.chunks_exact(columns).enumerate() {
            let target = row_idx / 2 + (row_idx % 2) * (head_dim / 2);
            head[target * columns..(target + 1) * columns].copy_from_slice(row);
        }
        interleaved.copy_from_slice(&head);
    }
}

/// Whether `role` is stored with interleaved rotary rows in such files.
pub(crate) fn is_interleaved(role: Role) -> bool {
    matches!(role, Role::Query | Role::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_separated_within_each_head() {
        // Two heads of four rows of one column; interleaved order a0 b0 a1 b1.
        let mut rows = vec![0.0, 10.0, 1.0, 11.0, 2.0, 12.0, 3.0, 13.0];
        separate_rotary_halves(&mut rows, 1, 4);
        assert_eq!(rows, [0.0, 1.0, 10.0, 11.0, 2.0, 3.0, 12.0, 13.0]);
    }
}
