//! One shard, opened: its header is checked against the model, its data are read when asked for.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use rosaq_model::ModelConfig;
use rosaq_tensor::{MappedFile, TensorEntry, TensorError, TensorView, parse_safetensors};

use crate::CheckpointError;
use crate::header::{
    FORMAT_VERSION, HEAD_INPUT, LinearHeader, codebook_name, codebooks_digest, metadata, seed_text,
    shard_name,
};
use crate::inventory::{Slot, block_slots, check_tensors, ends_slots};

/// Levels of the longest table: those of a trellis with a window of 12 bits.
const LONGEST_CODEBOOK: usize = 1 << 12;

/// A mapped shard whose names, types, shapes and metadata are those that the model demands.
#[derive(Debug)]
pub(crate) struct Shard {
    file: MappedFile,
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorEntry>,
    slots: Vec<Slot>,
    /// Descriptions of the linears; of packed tables in the shard of the model's ends.
    pub(crate) linears: BTreeMap<String, LinearHeader>,
}

impl Shard {
    /// Opens the shard of block `layer`.
    pub(crate) fn open_block(
        dir: &Path,
        config: &ModelConfig,
        layer: usize,
    ) -> Result<Self, CheckpointError> {
        let mut shard = Self::open(&dir.join(shard_name(layer + 1, config.n_layers)))?;
        shard.slots = block_slots(shard.path(), config, layer, &shard.linears)?;
        shard.down_hadamard(config.intermediate_size)?;
        shard.check()
    }

    /// Opens the shard of the model's ends.
    pub(crate) fn open_ends(dir: &Path, config: &ModelConfig) -> Result<Self, CheckpointError> {
        let mut shard = Self::open(&dir.join(shard_name(0, config.n_layers)))?;
        let codebook_lens = shard.codebook_lens()?;
        shard.slots = ends_slots(shard.path(), config, &shard.linears, &codebook_lens)?;
        if shard.head_basis()?.is_some()
            && (!config.tied_embeddings || shard.find(HEAD_INPUT).is_some())
        {
            let expected = format!("no value, or a shared table without `{HEAD_INPUT}`");
            let found = shard.metadata_value(metadata::HEAD_BASIS)?;
            return Err(shard.metadata_error(metadata::HEAD_BASIS, &expected, found));
        }
        shard.check()
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Bytes of the file, header included.
    pub(crate) fn file_len(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    /// Names of the tensors, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensors and what their bytes count as.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&Slot, TensorView<'_>)> {
        self.slots.iter().filter_map(|slot| Some((slot, self.find(&slot.name)?)))
    }

    /// The tensor of that name, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<TensorView<'_>> {
        let entry = self.tensors.get(name)?;
        Some(entry.view(self.file.bytes(), self.path()))
    }

    /// The tensor of that name.
    pub(crate) fn get(&self, name: &str) -> Result<TensorView<'_>, CheckpointError> {
        self.find(name).ok_or_else(|| {
            let (path, tensor) = (self.path().to_owned(), name.to_owned());
            TensorError::MissingTensor { path, tensor, n_tensors: self.tensors.len() }.into()
        })
    }

    /// Lets the kernel drop the pages read so far.
    pub(crate) fn release(&self) {
        self.file.release();
    }

    /// The codebooks that stand in this shard.
    pub(crate) fn codebooks(&self) -> Result<Vec<Vec<f16>>, CheckpointError> {
        let tables = (0..).map_while(|id| self.find(&codebook_name(id)));
        tables.map(|table| Ok(table.to_f16()?)).collect()
    }

    /// Demands that the linears of this shard were packed with `codebooks`, if they use any.
    pub(crate) fn check_codebooks(&self, codebooks: &[Vec<f16>]) -> Result<(), CheckpointError> {
        if !self.linears.values().any(LinearHeader::uses_codebooks)
            || *self.metadata_value(metadata::CODEBOOKS)? == codebooks_digest(codebooks)
        {
            return Ok(());
        }
        Err(CheckpointError::Codebooks { path: self.path().to_owned() })
    }

    /// Compares a tensor's bytes with the checksum in the header.
    pub(crate) fn check_checksum(&self, tensor: &TensorView<'_>) -> Result<(), CheckpointError> {
        let expected = self.metadata_value(&checksum_key(tensor.name))?;
        let found = blake3::hash(tensor.bytes).to_hex();
        if expected == found.as_str() {
            return Ok(());
        }
        Err(CheckpointError::Checksum {
            path: self.path().to_owned(),
            tensor: tensor.name.to_owned(),
            expected: expected.to_owned(),
            found: found.to_string(),
        })
    }

    fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = MappedFile::open(path)?;
        let header = parse_safetensors(file.bytes(), path)?;
        let tensors = header.tensors.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        let metadata = header.metadata;
        let linears = BTreeMap::new();
        let mut shard = Self { file, metadata, tensors, slots: Vec::new(), linears };
        shard.check_version()?;
        let linears = shard.metadata_value(metadata::LINEARS)?;
        shard.linears = serde_json::from_str(linears).map_err(|source| CheckpointError::Json {
            path: path.to_owned(),
            what: "metadata `rosaq_linears`",
            source,
        })?;
        Ok(shard)
    }

    fn check(self) -> Result<Self, CheckpointError> {
        let found = self.tensors.values().map(|t| (&*t.name, t.dtype, &*t.shape));
        check_tensors(self.path(), &self.slots, found)?;
        for name in self.names() {
            let key = checksum_key(name);
            let value = self.metadata_value(&key)?;
            let is_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
            if value.len() != 2 * blake3::OUT_LEN || !value.as_bytes().iter().all(is_hex) {
                let expected = "64 lowercase hexadecimal digits";
                return Err(self.metadata_error(&key, expected, value));
            }
        }
        Ok(self)
    }

    fn check_version(&self) -> Result<(), CheckpointError> {
        let (key, expected) = metadata::FORMAT;
        let format = self.metadata_value(key)?;
        if format != expected {
            return Err(self.metadata_error(key, expected, format));
        }
        let version = self.metadata_value(metadata::VERSION)?;
        if version != FORMAT_VERSION.to_string() {
            let (path, found) = (self.path().to_owned(), version.to_owned());
            return Err(CheckpointError::Version { path, found, expected: FORMAT_VERSION });
        }
        Ok(())
    }

    /// Points of the transforms of the down input, if there are any.
    pub(crate) fn down_hadamard(
        &self,
        intermediate_size: usize,
    ) -> Result<Option<usize>, CheckpointError> {
        let key = metadata::DOWN_HADAMARD;
        let value = self.metadata_value(key)?;
        if value == "none" {
            return Ok(None);
        }
        let parts = value.split_once('x').and_then(|(n, points)| {
            Some((n.parse::<usize>().ok()?, points.parse::<usize>().ok()?))
        });
        match parts {
            Some((n, points))
                if points.is_power_of_two() && n.checked_mul(points) == Some(intermediate_size) =>
            {
                Ok(Some(points))
            }
            _ => {
                let product =
                    format!("a number, `x`, a power of two, multiplied {intermediate_size}");
                Err(self.metadata_error(key, &product, value))
            }
        }
    }

    /// The seed of the residual's basis, where the head needs no more.
    pub(crate) fn head_basis(&self) -> Result<Option<u64>, CheckpointError> {
        let key = metadata::HEAD_BASIS;
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let seed = value.split_once('-').and_then(|(seed, _)| seed.parse::<u64>().ok());
        match seed.filter(|&seed| &seed_text(seed) == value) {
            Some(seed) => Ok(Some(seed)),
            None => {
                Err(self.metadata_error(key, "a seed, `-`, the first digits of its hash", value))
            }
        }
    }

    fn metadata_value(&self, key: &str) -> Result<&str, CheckpointError> {
        match self.metadata.get(key) {
            Some(value) => Ok(value),
            None => Err(self.metadata_error(key, "a value, as rosaq writes it", "none")),
        }
    }

    fn metadata_error(&self, key: &str, expected: &str, found: &str) -> CheckpointError {
        CheckpointError::Metadata {
            path: self.path().to_owned(),
            key: key.to_owned(),
            expected: expected.to_owned(),
            found: found.to_owned(),
        }
    }

    /// Lengths of the codebooks, numbered from zero without a gap.
    fn codebook_lens(&self) -> Result<Vec<usize>, CheckpointError> {
        let tables = (0..).map_while(|id| self.find(&codebook_name(id)));
        tables
            .map(|table| match *table.shape {
                [len] if (4..=LONGEST_CODEBOOK).contains(&len) && len.is_power_of_two() => Ok(len),
                _ => Err(CheckpointError::CodebookShape {
                    path: self.path().to_owned(),
                    tensor: table.name.to_owned(),
                    found: table.shape.to_owned(),
                }),
            })
            .collect()
    }
}

/// Key of the metadata that holds the checksum of `tensor`.
pub(crate) fn checksum_key(tensor: &str) -> String {
    format!("{}{tensor}", metadata::CHECKSUM_PREFIX)
}
