//! A GGUF writer that checks nothing, so that tests can write what no honest program would.
#![allow(dead_code, reason = "every test file uses a part")]

use std::path::Path;

/// The path that appears in messages.
pub(crate) fn path() -> &'static Path {
    Path::new("some.gguf")
}

/// One tensor record and its data.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: Vec<u8>,
    /// Fastest dimension first, as in the file.
    pub(crate) dims: Vec<u64>,
    pub(crate) ggml_type: u32,
    pub(crate) offset: u64,
}

/// The parts of a GGUF file.
#[derive(Debug, Clone)]
pub(crate) struct Gguf {
    pub(crate) version: u32,
    pub(crate) n_tensors: u64,
    pub(crate) n_keys: u64,
    /// Encoded key-value pairs.
    pub(crate) pairs: Vec<u8>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) data: Vec<u8>,
}

impl Gguf {
    /// Two F32 tensors, `a` of shape `[2, 3]` at 0 and `b` of shape `[4]` at 32.
    pub(crate) fn small() -> Self {
        let floats: Vec<u8> = (0..12_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let tensor = |name: &[u8], dims: &[u64], offset| Tensor {
            name: name.to_vec(),
            dims: dims.to_vec(),
            ggml_type: 0,
            offset,
        };
        Self {
            version: 3,
            n_tensors: 2,
            n_keys: 0,
            pairs: Vec::new(),
            tensors: vec![tensor(b"a", &[3, 2], 0), tensor(b"b", &[4], 32)],
            data: floats,
        }
    }

    /// Adds a key with an already encoded value of type `kind`.
    pub(crate) fn with_pair(mut self, key: &[u8], kind: u32, value: &[u8]) -> Self {
        self.n_keys += 1;
        self.pairs.extend(string(key));
        self.pairs.extend(kind.to_le_bytes());
        self.pairs.extend(value);
        self
    }

    /// Everything before the data section, without padding.
    pub(crate) fn header(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.n_tensors.to_le_bytes());
        bytes.extend(self.n_keys.to_le_bytes());
        bytes.extend(&self.pairs);
        for tensor in &self.tensors {
            bytes.extend(string(&tensor.name));
            let n_dims = u32::try_from(tensor.dims.len()).expect("few dimensions");
            bytes.extend(n_dims.to_le_bytes());
            tensor.dims.iter().for_each(|d| bytes.extend(d.to_le_bytes()));
            bytes.extend(tensor.ggml_type.to_le_bytes());
            bytes.extend(tensor.offset.to_le_bytes());
        }
        bytes
    }

    /// The whole file at alignment 32.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

/// A string after its length.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

/// A safetensors file out of its header text and data.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
}
