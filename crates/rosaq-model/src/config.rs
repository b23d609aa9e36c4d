//! The configuration of a model: sizes, norms, rotary embedding, biases.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Family, ModelError, Role, RopeScaling, find_architecture};

/// Everything about a model that is not a weight.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The family's table.
    pub family: &'static Family,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the MLP.
    pub intermediate_size: usize,
    /// Number of decoder blocks.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Channels of one head.
    pub head_dim: usize,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Positions the model was made for.
    pub max_positions: usize,
    /// Added to the mean square inside every `RMSNorm`.
    pub rms_norm_eps: f32,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Change of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// A query sees only this many of the latest positions, itself included.
    pub sliding_window: Option<usize>,
    /// Whether the head is the embedding table.
    pub tied_embeddings: bool,
    /// Linears that carry a bias.
    pub biased: Vec<Role>,
    /// The configuration as Hugging Face's JSON object, to be written beside a quantized model.
    pub hf: Map<String, Value>,
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json`; `path` serves messages.
    ///
    /// # Errors
    /// Names the field that is missing, out of range, or asks for something that rosaq does not do.
    pub fn from_hf_json(json: &str, path: &Path) -> Result<Self, ModelError> {
        let hf: Map<String, Value> = serde_json::from_str(json)
            .map_err(|source| ModelError::ConfigSyntax { path: path.to_owned(), source })?;
        let fields = Fields { path, map: &hf };
        let family = find_architecture(&fields.architecture()?, path)?;
        fields.refuse_unsupported()?;
        let hidden_size = fields.size("hidden_size")?;
        let n_heads = fields.size("num_attention_heads")?;
        let n_kv_heads = fields.size_or("num_key_value_heads", n_heads)?;
        let (rope_theta, rope_scaling) = fields.rope()?;
        let config = Self {
            family,
            hidden_size,
            intermediate_size: fields.size("intermediate_size")?,
            n_layers: fields.size("num_hidden_layers")?,
            n_heads,
            n_kv_heads,
            head_dim: fields.size_or("head_dim", hidden_size / n_heads)?,
            vocab_size: fields.size("vocab_size")?,
            max_positions: fields.size_or("max_position_embeddings", 2048)?,
            rms_norm_eps: fields.eps()?,
            rope_theta,
            rope_scaling,
            sliding_window: if family.reads_sliding_window {
                fields.optional_size("sliding_window")?
            } else {
                None
            },
            tied_embeddings: fields.flag_or("tie_word_embeddings", family.tied_by_default)?,
            biased: fields.biased(family)?,
            hf: hf.clone(),
        };
        config.check(path)?;
        Ok(config)
    }

    /// Checks relations between fields and that products of sizes stay in range.
    pub(crate) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let fail = |field: &str, reason: String| {
            Err(ModelError::ConfigField { path: path.to_owned(), field: field.to_owned(), reason })
        };
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return fail(
                "num_key_value_heads",
                format!("{} does not divide {} heads", self.n_kv_heads, self.n_heads),
            );
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return fail("head_dim", format!("{} is not a positive even number", self.head_dim));
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return fail("rms_norm_eps", format!("{} is outside 0..1", self.rms_norm_eps));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return fail("rope_theta", format!("{} is not a number above 1", self.rope_theta));
        }
        if let RopeScaling::Divisors(divisors) = &self.rope_scaling
            && divisors.len() != self.head_dim / 2
        {
            let (found, expected) = (divisors.len(), self.head_dim / 2);
            return fail("divisors", format!("{found} rope divisors, head_dim needs {expected}"));
        }
        if self.n_heads.saturating_mul(self.head_dim) > MAX_SIZE {
            return fail("head_dim", "heads times head_dim is out of range".to_owned());
        }
        Ok(())
    }

    /// Shape `[out_features, in_features]` of a linear (of a table, for embedding and head).
    ///
    /// # Panics
    /// If `role` is a norm.
    #[must_use]
    pub fn linear_shape(&self, role: Role) -> [usize; 2] {
        let d = self.hidden_size;
        match role {
            Role::Query => [self.n_heads * self.head_dim, d],
            Role::Key | Role::Value => [self.n_kv_heads * self.head_dim, d],
            Role::Output => [d, self.n_heads * self.head_dim],
            Role::Gate | Role::Up => [self.intermediate_size, d],
            Role::Down => [d, self.intermediate_size],
            Role::Embedding | Role::Head => [self.vocab_size, d],
            other => panic!("role `{other}` is no linear"),
        }
    }

    /// Hugging Face's name of the weight of `role` in `layer`.
    ///
    /// # Panics
    /// If the family's table lacks the role, which no table does.
    #[must_use]
    pub fn tensor_name(&self, role: Role, layer: usize) -> String {
        self.family.hf_names.weight(role, layer).expect("every table lists every role")
    }

    /// Query heads that share one value head.
    #[must_use]
    pub fn heads_per_kv(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Weights of the seven linears of all blocks: the number that bits per weight divide by.
    #[must_use]
    pub fn quantizable_weights(&self) -> u64 {
        let block: u64 = crate::LINEAR_ROLES
            .iter()
            .map(|&role| self.linear_shape(role).iter().map(|&n| n as u64).product::<u64>())
            .sum();
        block * self.n_layers as u64
    }
}

/// No single size may pass this: far above every model, far below what overflows a product of two.
const MAX_SIZE: usize = 1 << 24;

struct Fields<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn fail<T>(&self, field: &str, reason: impl Into<String>) -> Result<T, ModelError> {
        let path: PathBuf = self.path.to_owned();
        Err(ModelError::ConfigField { path, field: field.to_owned(), reason: reason.into() })
    }

    fn present(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    fn architecture(&self) -> Result<String, ModelError> {
        match self.present("architectures").and_then(|v| v.as_array()).map(Vec::as_slice) {
            Some([Value::String(one)]) => Ok(one.clone()),
            _ => self.fail("architectures", "expected a list with one architecture name"),
        }
    }

    fn optional_size(&self, field: &str) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.present(field) else { return Ok(None) };
        match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..=MAX_SIZE).contains(&n) => Ok(Some(n)),
            _ => self.fail(field, format!("expected a number in 1..={MAX_SIZE}, found {value}")),
        }
    }

    fn size(&self, field: &str) -> Result<usize, ModelError> {
        match self.optional_size(field)? {
            Some(n) => Ok(n),
            None => self.fail(field, "is missing"),
        }
    }

    fn size_or(&self, field: &str, default: usize) -> Result<usize, ModelError> {
        Ok(self.optional_size(field)?.unwrap_or(default))
    }

    fn flag_or(&self, field: &str, default: bool) -> Result<bool, ModelError> {
        match self.present(field) {
            None => Ok(default),
            Some(Value::Bool(b)) => Ok(*b),
            Some(other) => self.fail(field, format!("expected true or false, found {other}")),
        }
    }

    fn number(&self, map: &Map<String, Value>, field: &str) -> Result<Option<f64>, ModelError> {
        match map.get(field).filter(|v| !v.is_null()) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(x) => Ok(Some(x)),
                None => self.fail(field, format!("expected a number, found {value}")),
            },
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "norm epsilons are used in f32")]
    fn eps(&self) -> Result<f32, ModelError> {
        // 1e-6 is the library's default for every family here.
        Ok(self.number(self.map, "rms_norm_eps")?.unwrap_or(1e-6) as f32)
    }

    fn biased(&self, family: &Family) -> Result<Vec<Role>, ModelError> {
        let mut biased = family.biased.to_vec();
        let attention = self.flag_or("attention_bias", false)?;
        let mlp = self.flag_or("mlp_bias", false)?;
        if attention && family.reads_attention_bias {
            biased.extend([Role::Query, Role::Key, Role::Value, Role::Output]);
        }
        if mlp && family.reads_mlp_bias {
            biased.extend([Role::Gate, Role::Up, Role::Down]);
        }
        Ok(biased)
    }

    fn refuse_unsupported(&self) -> Result<(), ModelError> {
        if let Some(act) = self.present("hidden_act").and_then(Value::as_str)
            && act != "silu"
        {
            return self.fail("hidden_act", format!("`{act}` is not supported, only `silu` is"));
        }
        if self.flag_or("use_sliding_window", false)? {
            return self.fail("use_sliding_window", "windows on some layers are not supported");
        }
        if self.number(self.map, "partial_rotary_factor")?.is_some_and(|f| f != 1.0) {
            return self.fail("partial_rotary_factor", "partial rotary embedding is not supported");
        }
        if let Some(quantization) = self.present("quantization_config") {
            let method = quantization.get("quant_method").and_then(Value::as_str);
            if method != Some("rosaq") {
                return Err(ModelError::AlreadyQuantized {
                    path: self.path.to_owned(),
                    quant_method: method.unwrap_or("unnamed").to_owned(),
                });
            }
        }
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "stored as the shortest decimal of an f32")]
    fn divisors(&self, scaling: &Map<String, Value>) -> Result<Vec<f32>, ModelError> {
        let list = scaling.get("divisors").and_then(Value::as_array);
        let numbers: Option<Vec<f32>> =
            list.and_then(|l| l.iter().map(|v| v.as_f64().map(|x| x as f32)).collect());
        match numbers {
            Some(divisors) if divisors.iter().all(|d| d.is_finite() && *d > 0.0) => Ok(divisors),
            _ => self.fail("divisors", "expected a list of positive numbers"),
        }
    }

    /// Reads both spellings: `rope_theta` and `rope_scaling`, or `rope_parameters` that holds both.
    fn rope(&self) -> Result<(f64, RopeScaling), ModelError> {
        let empty = Map::new();
        let object = |field| match self.present(field) {
            None => Ok(&empty),
            Some(Value::Object(map)) => Ok(map),
            Some(_) => self.fail(field, "expected an object"),
        };
        let parameters = object("rope_parameters")?;
        let scaling = object("rope_scaling")?;
        let theta = match self.number(self.map, "rope_theta")? {
            Some(theta) => theta,
            None => self.number(parameters, "rope_theta")?.unwrap_or(10_000.0), // the library's default
        };
        let scaling = if scaling.is_empty() { parameters } else { scaling };
        let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
        if kind.is_none() && scaling.contains_key("factor") {
            return self.fail("rope_type", "a rope scaling factor needs its `rope_type`");
        }
        let positive = |field: &str| match self.number(scaling, field)? {
            Some(x) if x.is_finite() && x > 0.0 => Ok(x),
            _ => self.fail(field, "rope scaling needs a positive number"),
        };
        let scaling = match kind.and_then(Value::as_str).unwrap_or("default") {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: positive("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: positive("factor")?,
                low_freq_factor: positive("low_freq_factor")?,
                high_freq_factor: positive("high_freq_factor")?,
                original_positions: positive("original_max_position_embeddings")?,
            },
            // What GGUF files carry instead of the rule; written by rosaq alone.
            "divisors" => RopeScaling::Divisors(self.divisors(scaling)?),
            other => {
                return self.fail(
                    "rope_type",
                    format!("`{other}` is not supported; known: default, linear, llama3"),
                );
            }
        };
        Ok((theta, scaling))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":64,
        "intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":100 "#;

    fn parse(extra: &str) -> Result<ModelConfig, ModelError> {
        ModelConfig::from_hf_json(&format!("{BASE}{extra}}}"), Path::new("config.json"))
    }

    #[track_caller]
    fn refused(extra: &str, words: &[&str]) {
        let message = parse(extra).expect_err("must be refused").to_string();
        for word in words {
            assert!(message.contains(word), "{message:?} lacks {word:?}");
        }
    }

    #[test]
    fn defaults_are_filled_in() {
        let config = parse("").unwrap();
        assert_eq!((config.n_kv_heads, config.head_dim), (4, 16));
        assert_eq!(config.rope_scaling, RopeScaling::None);
        assert!(!config.tied_embeddings);
        assert_eq!(config.quantizable_weights(), 2 * (4 * 64 * 64 + 3 * 64 * 96));
    }

    #[test]
    fn both_rope_spellings_agree() {
        let body = r#""rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
            "high_freq_factor":4.0,"original_max_position_embeddings":8192"#;
        let old = parse(&format!(r#","rope_theta":5e5,"rope_scaling":{{{body}}}"#)).unwrap();
        let new = parse(&format!(r#","rope_parameters":{{"rope_theta":5e5,{body}}}"#)).unwrap();
        assert_eq!(old.rope_scaling, new.rope_scaling);
        assert_eq!(old.rope_theta.to_bits(), new.rope_theta.to_bits());
    }

    #[test]
    fn bad_fields_are_named() {
        refused(r#","num_key_value_heads":3"#, &["num_key_value_heads", "config.json"]);
        refused(r#","head_dim":7"#, &["head_dim", "even"]);
        refused(r#","hidden_act":"gelu""#, &["gelu", "silu"]);
        refused(r#","rope_scaling":{"type":"yarn","factor":2}"#, &["yarn", "llama3"]);
        refused(r#","rope_scaling":{"factor":2}"#, &["rope_type"]);
        refused(r#","rms_norm_eps":"a""#, &["rms_norm_eps"]);
        refused(r#","num_key_value_heads":99999999999"#, &["num_key_value_heads"]);
        refused(
            r#","quantization_config":{"quant_method":"gptq"}"#,
            &["already quantized", "gptq"],
        );
    }

    #[test]
    fn unknown_architectures_are_refused_with_the_list() {
        let json = r#"{"architectures":["GPT2LMHeadModel"]}"#;
        let message = ModelConfig::from_hf_json(json, Path::new("c")).unwrap_err().to_string();
        assert!(message.contains("GPT2LMHeadModel") && message.contains("qwen3"), "{message}");
    }
}
