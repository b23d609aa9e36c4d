#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod arranged;
mod attention;
mod backend;
mod block;
mod ends;
mod error;
mod kept;
mod kv_cache;
mod linear;
mod model;
mod rms_norm;
mod rope;
mod tree;
mod workspace;

pub use arranged::{Activations, ArrangedLinear};
pub use backend::{Backend, Sequences};
pub use block::{Batch, BlockContext, forward_block};
pub use ends::Ends;
pub use error::RuntimeError;
pub use kept::CacheForm;
pub use kv_cache::{KvCache, LayerCache};
pub use linear::LinearOp;
pub use model::{Blocks, LayerPass, LoadedBlock, Model};
pub use rope::RopeTable;
pub use tree::TokenTree;
pub use workspace::Workspace;
