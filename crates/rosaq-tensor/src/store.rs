//! All tensors of a checkpoint by name, wherever they lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::TensorError;
use crate::gguf::{GgufMetadata, parse_gguf};
use crate::mmap::MappedFile;
use crate::safetensors::parse_safetensors;
use crate::shards::ShardIndex;
use crate::tensor::{TensorEntry, TensorView};

/// The one file of a checkpoint that is not sharded.
const SINGLE_FILE: &str = "model.safetensors";
/// The index of a sharded checkpoint, after the convention of huggingface/transformers.
const INDEX_FILE: &str = "model.safetensors.index.json";

/// A memory-mapped checkpoint: headers are checked when it is opened, data are read when asked for.
///
/// The files must not change while the store is open, see [`MappedFile`].
#[derive(Debug)]
pub struct TensorStore {
    path: PathBuf,
    files: Vec<MappedFile>,
    file_paths: Vec<PathBuf>,
    tensors: BTreeMap<String, (usize, TensorEntry)>,
    safetensors_metadata: Vec<BTreeMap<String, String>>,
    gguf: Option<GgufMetadata>,
}

impl TensorStore {
    /// Opens a checkpoint: a directory with `model.safetensors`, with
    /// `model.safetensors.index.json` and its shards, or with exactly one `.gguf` file (in this
    /// order); or one of these files itself, under any name with its extension.
    ///
    /// # Errors
    ///
    /// [`TensorError`] if there is no checkpoint, a file cannot be read, a header is not
    /// consistent, or a tensor is missing from its shard or stands twice.
    pub fn open(path: &Path) -> Result<Self, TensorError> {
        let mut store = Self {
            path: path.to_owned(),
            files: Vec::new(),
            file_paths: Vec::new(),
            tensors: BTreeMap::new(),
            safetensors_metadata: Vec::new(),
            gguf: None,
        };
        match Source::find(path)? {
            Source::Safetensors(file) => store.add_safetensors(&file)?,
            Source::Gguf(file) => store.add_gguf(&file)?,
            Source::Sharded(file) => {
                let index = ShardIndex::read(&file)?;
                index.shard_paths().iter().try_for_each(|shard| store.add_safetensors(shard))?;
                index.check_complete(|tensor| {
                    store.tensors.get(tensor).map(|(file_idx, _)| &*store.file_paths[*file_idx])
                })?;
            }
        }
        Ok(store)
    }

    /// The path that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that hold tensors, shards sorted by name.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.file_paths
    }

    /// All bytes of file `file_idx` of [`TensorStore::files`].
    ///
    /// # Panics
    ///
    /// If there is no such file.
    #[must_use]
    pub fn file_bytes(&self, file_idx: usize) -> &[u8] {
        self.files[file_idx].bytes()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The tensor of that name.
    ///
    /// # Errors
    ///
    /// [`TensorError::MissingTensor`] with the checkpoint's path.
    pub fn get(&self, name: &str) -> Result<TensorView<'_>, TensorError> {
        let (file_idx, entry) =
            self.tensors.get(name).ok_or_else(|| TensorError::MissingTensor {
                path: self.path.clone(),
                tensor: name.to_owned(),
                n_tensors: self.tensors.len(),
            })?;
        Ok(entry.view(self.files[*file_idx].bytes(), &self.file_paths[*file_idx]))
    }

    /// The metadata of a GGUF file; `None` for safetensors.
    #[must_use]
    pub fn gguf(&self) -> Option<&GgufMetadata> {
        self.gguf.as_ref()
    }

    /// The `__metadata__` of each of [`TensorStore::files`]; empty for GGUF.
    #[must_use]
    pub fn safetensors_metadata(&self) -> &[BTreeMap<String, String>] {
        &self.safetensors_metadata
    }

    /// Tells the kernel that the pages read so far may be dropped, see [`MappedFile::release`].
    pub fn release(&self) {
        self.files.iter().for_each(MappedFile::release);
    }

    fn add_safetensors(&mut self, path: &Path) -> Result<(), TensorError> {
        let file = MappedFile::open(path)?;
        let header = parse_safetensors(file.bytes(), path)?;
        self.safetensors_metadata.push(header.metadata);
        self.add(file, header.tensors)
    }

    fn add_gguf(&mut self, path: &Path) -> Result<(), TensorError> {
        let file = MappedFile::open(path)?;
        let header = parse_gguf(file.bytes(), path)?;
        self.gguf = Some(header.metadata);
        self.add(file, header.tensors)
    }

    fn add(&mut self, file: MappedFile, tensors: Vec<TensorEntry>) -> Result<(), TensorError> {
        let file_idx = self.files.len();
        for entry in tensors {
            let name = entry.name.clone();
            if self.tensors.insert(name.clone(), (file_idx, entry)).is_some() {
                let path = self.path.clone();
                return Err(TensorError::DuplicateTensor { path, tensor: name });
            }
        }
        self.file_paths.push(file.path().to_owned());
        self.files.push(file);
        Ok(())
    }
}

/// What kind of checkpoint a path leads to.
enum Source {
    Safetensors(PathBuf),
    Sharded(PathBuf),
    Gguf(PathBuf),
}

impl Source {
    fn find(path: &Path) -> Result<Self, TensorError> {
        let read_error = |source| TensorError::Read { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(read_error)?.is_dir() {
            return Self::find_in_directory(path);
        }
        if has_extension(path, "safetensors") {
            Ok(Self::Safetensors(path.to_owned()))
        } else if has_extension(path, "gguf") {
            Ok(Self::Gguf(path.to_owned()))
        } else if path.to_string_lossy().ends_with(".safetensors.index.json") {
            Ok(Self::Sharded(path.to_owned()))
        } else {
            Err(TensorError::UnknownFormat { path: path.to_owned() })
        }
    }

    fn find_in_directory(path: &Path) -> Result<Self, TensorError> {
        let single = path.join(SINGLE_FILE);
        if single.is_file() {
            return Ok(Self::Safetensors(single));
        }
        let index = path.join(INDEX_FILE);
        if index.is_file() {
            return Ok(Self::Sharded(index));
        }
        let read_error = |source| TensorError::Read { path: path.to_owned(), source };
        let mut gguf_files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(read_error)? {
            let file = entry.map_err(read_error)?.path();
            if has_extension(&file, "gguf") && file.is_file() {
                gguf_files.push(file);
            }
        }
        match gguf_files.len() {
            0 => Err(TensorError::NoCheckpoint { path: path.to_owned() }),
            1 => Ok(Self::Gguf(gguf_files.swap_remove(0))),
            found => Err(TensorError::SeveralGguf { path: path.to_owned(), found }),
        }
    }
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(expected))
}
