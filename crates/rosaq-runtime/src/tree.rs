//! Sequences that begin alike, with the common beginnings computed once.

use rosaq_model::{IgnoreActivations, ModelConfig};

use crate::attention::{Heads, attend};
use crate::block::{Batch, BlockContext};
use crate::kept::StatesView;
use crate::rope::RopeTable;
use crate::{Model, RuntimeError, Workspace};

/// Runs of tokens of which some continue others: a run sees its own tokens, and those of its parent, its parent's parent and
/// so on up to a run without one, as if they stood before it in one sequence.
#[derive(Debug, Clone, Copy)]
pub struct TokenTree<'a> {
    /// The tokens of all runs, one run after another.
    pub tokens: &'a [u32],
    /// Tokens of each run.
    pub lengths: &'a [usize],
    /// The run that each one continues, which stands before it; `None` for those that begin a sequence.
    pub parents: &'a [Option<usize>],
}

impl Model {
    /// Hidden states after the last block for every token of `trees`, row-major `[tokens, hidden_size]`, tree after tree.
    /// They are those that [`Self::final_hidden`] gives for each path from a beginning, to within rounding. One tree goes
    /// through a block at once, so its size bounds the memory of activations. `progress` hears the share done, 0 to 1.
    ///
    /// # Errors
    /// Loading errors, ids outside the vocabulary, trees and runs without a token, hidden states that overflow.
    ///
    /// # Panics
    /// If the lengths of a tree do not add up to its tokens, or a run's parent does not stand before it.
    pub fn tree_hidden(
        &self,
        trees: &[TokenTree<'_>],
        progress: &dyn Fn(f64),
    ) -> Result<Vec<f32>, RuntimeError> {
        let mut longest = 0;
        for tree in trees {
            longest = longest.max(tree.check()?);
        }
        let config = self.config();
        let mut hidden = self.embed(trees.iter().flat_map(|tree| tree.tokens.iter().copied()))?;
        let total = hidden.len();
        let rope = RopeTable::new(config, longest);
        let mut workspace = Workspace::default();
        for layer in 0..config.n_layers {
            let block = self.block(layer)?;
            let mut rest = &mut hidden[..];
            for tree in trees {
                let (states, later) = rest.split_at_mut(tree.tokens.len() * config.hidden_size);
                let (lengths, parents) = (tree.lengths, tree.parents);
                let batch = Batch { lengths, parents };
                let context = BlockContext { config, rope: &rope, batch };
                block.forward(context, states, &mut [], &mut IgnoreActivations, &mut workspace);
                if !states.iter().all(|x| x.is_finite()) {
                    return Err(RuntimeError::NotFinite { layer });
                }
                rest = later;
                let share = 1.0 - rest.len() as f64 / total as f64;
                progress((layer as f64 + share) / config.n_layers as f64);
            }
        }
        Ok(hidden)
    }
}

impl TokenTree<'_> {
    /// Checks the form; gives the tokens of the longest path.
    fn check(&self) -> Result<usize, RuntimeError> {
        let (lengths, parents) = (self.lengths, self.parents);
        let total: usize = lengths.iter().sum();
        assert!(
            total == self.tokens.len() && lengths.len() == parents.len(),
            "a tree of {} tokens has {} runs of {total} tokens in all, and {} parents",
            self.tokens.len(),
            lengths.len(),
            parents.len(),
        );
        if lengths.is_empty() || lengths.contains(&0) {
            return Err(RuntimeError::NoTokens);
        }
        let mut ends: Vec<usize> = Vec::with_capacity(lengths.len());
        for (run, (&len, parent)) in lengths.iter().zip(parents).enumerate() {
            let before = parent.map_or(0, |parent| {
                assert!(
                    parent < run,
                    "run {run} continues run {parent}, which does not stand before it"
                );
                ends[parent]
            });
            ends.push(before + len);
        }
        Ok(ends.into_iter().max().unwrap_or(0))
    }
}

/// Attention of every run of a tree to itself and its ancestors; `qkv` and `out` row-major, a row for each token.
pub(crate) fn attend_tree(
    config: &ModelConfig,
    batch: Batch<'_>,
    qkv: [&[f32]; 3],
    out: &mut [f32],
) {
    let heads = Heads::of(config);
    let (width, kv_width) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let [q, k, v] = qkv;
    let starts: Vec<usize> = batch
        .lengths
        .iter()
        .scan(0, |next, &len| {
            *next += len;
            Some(*next - len)
        })
        .collect();
    let starts = &starts;
    rayon::scope(|scope| {
        let mut rest = out;
        for (run, &len) in batch.lengths.iter().enumerate() {
            let (out_one, later) = std::mem::take(&mut rest).split_at_mut(len * width);
            rest = later;
            let q_one = &q[starts[run] * width..][..len * width];
            scope.spawn(move |_| {
                let path = path(batch.parents, run);
                let [keys, values] = [k, v].map(|states| {
                    let rows = |&run: &usize| {
                        &states[starts[run] * kv_width..][..batch.lengths[run] * kv_width]
                    };
                    path.iter().map(rows).collect::<Vec<_>>().concat()
                });
                attend(heads, q_one, [&keys, &values].map(|x| StatesView::F32(x)), out_one);
            });
        }
    });
}

/// The runs from the beginning of a sequence to `run`.
fn path(parents: &[Option<usize>], run: usize) -> Vec<usize> {
    let mut path: Vec<usize> = std::iter::successors(Some(run), |&run| parents[run]).collect();
    path.reverse();
    path
}
