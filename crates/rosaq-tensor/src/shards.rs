//! `model.safetensors.index.json`: which shard of a checkpoint holds which tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::error::TensorError;

/// Longest index that is parsed, in bytes; a thousand times the largest one published.
const MAX_INDEX_BYTES: u64 = 100_000_000;

/// A checked index.
#[derive(Debug)]
pub(crate) struct ShardIndex {
    path: PathBuf,
    /// Shard file name by tensor name.
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Reads an index file.
    pub(crate) fn read(path: &Path) -> Result<Self, TensorError> {
        let read_error = |source| TensorError::Read { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(read_error)?.len();
        if length > MAX_INDEX_BYTES {
            return Err(TensorError::Limit {
                path: path.to_owned(),
                what: "the length of the shard index",
                found: length,
                limit: MAX_INDEX_BYTES,
            });
        }
        let text = std::fs::read(path).map_err(read_error)?;
        let file: IndexFile = serde_json::from_slice(&text).map_err(|source| {
            TensorError::Json { path: path.to_owned(), what: "the shard index", source }
        })?;
        let index = Self { path: path.to_owned(), weight_map: file.weight_map.0 };
        index.weight_map.values().try_for_each(|shard| index.check_name(shard))?;
        Ok(index)
    }

    /// The shard files, each once, sorted by name.
    pub(crate) fn shard_paths(&self) -> Vec<PathBuf> {
        let names: BTreeSet<&String> = self.weight_map.values().collect();
        names.into_iter().map(|name| self.path.with_file_name(name)).collect()
    }

    /// Demands that every tensor of the index was found in its shard; `found` gives the file in
    /// which a tensor was found.
    pub(crate) fn check_complete<'a>(
        &self,
        found: impl Fn(&str) -> Option<&'a Path>,
    ) -> Result<(), TensorError> {
        for (tensor, shard) in &self.weight_map {
            if found(tensor) != Some(&*self.path.with_file_name(shard)) {
                return Err(TensorError::MissingInShard {
                    index: self.path.clone(),
                    tensor: tensor.clone(),
                    shard: shard.clone(),
                });
            }
        }
        Ok(())
    }

    /// A shard is a plain file beside the index, whatever the index says.
    fn check_name(&self, shard: &str) -> Result<(), TensorError> {
        let mut components = Path::new(shard).components();
        if let (Some(Component::Normal(name)), None) = (components.next(), components.next())
            && name == shard
        {
            return Ok(());
        }
        Err(TensorError::ShardName { index: self.path.clone(), shard: shard.to_owned() })
    }
}

#[derive(Deserialize)]
struct IndexFile {
    weight_map: WeightMap,
}

/// A map that refuses repeated keys.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of shard file names by tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut weight_map = BTreeMap::new();
        while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
            if weight_map.contains_key(&tensor) {
                return Err(A::Error::custom(format_args!("tensor `{tensor}` is listed twice")));
            }
            weight_map.insert(tensor, shard);
        }
        Ok(WeightMap(weight_map))
    }
}
