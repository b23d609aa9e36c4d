//! Sequences merged by their common beginnings.

use std::mem;

/// Runs of tokens of which some continue others, so that what sequences have in common at their beginnings is there once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTree {
    /// The tokens of all runs, one run after another.
    pub tokens: Vec<u32>,
    /// Tokens of each run; none is empty.
    pub lengths: Vec<usize>,
    /// The run that each one continues, which stands before it; `None` for those that begin a sequence.
    pub parents: Vec<Option<usize>>,
}

impl TokenTree {
    /// For each run, the tokens from the beginning of its sequence to its own last one, and how many are its own.
    pub(crate) fn paths(&self) -> Vec<(Vec<u32>, usize)> {
        let mut paths: Vec<(Vec<u32>, usize)> = Vec::with_capacity(self.lengths.len());
        let mut first = 0;
        for (&len, parent) in self.lengths.iter().zip(&self.parents) {
            let mut path = parent.map_or_else(Vec::new, |parent| paths[parent].0.clone());
            path.extend(&self.tokens[first..first + len]);
            paths.push((path, len));
            first += len;
        }
        paths
    }
}

/// Whether sequences share what they have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Common beginnings are computed once.
    Shared,
    /// Every sequence is computed by itself: the plain way, to compare with.
    Apart,
}

/// A tree that still grows.
#[derive(Debug, Default)]
pub(crate) struct TreeBuilder {
    nodes: Vec<Node>,
    /// The nodes that begin a sequence.
    roots: Vec<usize>,
    n_tokens: usize,
}

#[derive(Debug)]
struct Node {
    tokens: Vec<u32>,
    children: Vec<usize>,
}

impl TreeBuilder {
    /// Tokens held.
    pub(crate) fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Tokens at the beginning of `sequence` that the tree already holds.
    pub(crate) fn n_shared(&self, sequence: &[u32]) -> usize {
        let (mut among, mut shared) = (&self.roots, 0);
        while let Some(node) = self.starting_with(among, &sequence[shared..]) {
            let common = common_len(&node.tokens, &sequence[shared..]);
            shared += common;
            if common < node.tokens.len() {
                break;
            }
            among = &node.children;
        }
        shared
    }

    /// Adds a sequence of at least one token and returns the node it begins with, by which it is found again.
    pub(crate) fn insert(&mut self, sequence: &[u32], sharing: Sharing) -> usize {
        assert!(!sequence.is_empty(), "a sequence of no tokens");
        let root = match sharing {
            Sharing::Shared => self.child_with(&self.roots, sequence),
            Sharing::Apart => None,
        };
        let Some(root) = root else {
            let root = self.push(sequence);
            self.roots.push(root);
            return root;
        };
        let (mut at, mut rest) = (root, sequence);
        loop {
            let common = common_len(&self.nodes[at].tokens, rest);
            rest = &rest[common..];
            if rest.is_empty() && common == self.nodes[at].tokens.len() {
                return root;
            }
            if common < self.nodes[at].tokens.len() {
                self.split(at, common);
            }
            if rest.is_empty() {
                return root;
            }
            match self.child_with(&self.nodes[at].children, rest) {
                Some(child) => at = child,
                None => {
                    let child = self.push(rest);
                    self.nodes[at].children.push(child);
                    return root;
                }
            }
        }
    }

    /// The finished tree, and for each of `sequences`, given with the node it begins with, the rows of its tokens in it.
    pub(crate) fn finish(self, sequences: &[(usize, &[u32])]) -> (TokenTree, Vec<Vec<usize>>) {
        let mut tree = TokenTree::default();
        let mut first_rows = vec![0; self.nodes.len()];
        // From the last to the first, since a stack gives back the latest first.
        let mut stack: Vec<(usize, Option<usize>)> =
            self.roots.iter().rev().map(|&root| (root, None)).collect();
        while let Some((at, parent)) = stack.pop() {
            let node = &self.nodes[at];
            first_rows[at] = tree.tokens.len();
            let run = tree.lengths.len();
            tree.tokens.extend(&node.tokens);
            tree.lengths.push(node.tokens.len());
            tree.parents.push(parent);
            stack.extend(node.children.iter().rev().map(|&child| (child, Some(run))));
        }
        let rows = |&(root, sequence): &(usize, &[u32])| self.rows(root, sequence, &first_rows);
        (tree, sequences.iter().map(rows).collect())
    }

    fn rows(&self, root: usize, sequence: &[u32], first_rows: &[usize]) -> Vec<usize> {
        let (mut at, mut rows) = (root, Vec::with_capacity(sequence.len()));
        loop {
            let n = self.nodes[at].tokens.len().min(sequence.len() - rows.len());
            rows.extend(first_rows[at]..first_rows[at] + n);
            match self.child_with(&self.nodes[at].children, &sequence[rows.len()..]) {
                Some(child) => at = child,
                None => return rows,
            }
        }
    }

    fn starting_with(&self, among: &[usize], sequence: &[u32]) -> Option<&Node> {
        self.child_with(among, sequence).map(|at| &self.nodes[at])
    }

    fn child_with(&self, among: &[usize], sequence: &[u32]) -> Option<usize> {
        let first = sequence.first()?;
        among.iter().copied().find(|&at| self.nodes[at].tokens[0] == *first)
    }

    fn push(&mut self, tokens: &[u32]) -> usize {
        self.n_tokens += tokens.len();
        self.nodes.push(Node { tokens: tokens.to_vec(), children: Vec::new() });
        self.nodes.len() - 1
    }

    /// Cuts a node in two; it keeps its number and the first `len` tokens.
    fn split(&mut self, at: usize, len: usize) {
        let tokens = self.nodes[at].tokens.split_off(len);
        let children = mem::take(&mut self.nodes[at].children);
        self.nodes.push(Node { tokens, children });
        let tail = self.nodes.len() - 1;
        self.nodes[at].children.push(tail);
    }
}

fn common_len(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tokens on the path that ends with `row`.
    fn path_to(tree: &TokenTree, row: usize) -> Vec<u32> {
        let (mut run, mut first) = (0, 0);
        while first + tree.lengths[run] <= row {
            first += tree.lengths[run];
            run += 1;
        }
        let before = tree.parents[run].map_or_else(Vec::new, |parent| {
            let last = tree.lengths[..=parent].iter().sum::<usize>() - 1;
            path_to(tree, last)
        });
        [before, tree.tokens[first..=row].to_vec()].concat()
    }

    fn build(sequences: &[Vec<u32>], sharing: Sharing) -> (TokenTree, Vec<Vec<usize>>) {
        let mut builder = TreeBuilder::default();
        let placed: Vec<(usize, &[u32])> =
            sequences.iter().map(|s| (builder.insert(s, sharing), &s[..])).collect();
        builder.finish(&placed)
    }

    proptest! {
        #[test]
        fn rows_lead_back_to_the_sequences(
            sequences in prop::collection::vec(prop::collection::vec(0_u32..3, 1..8), 1..12),
        ) {
            for sharing in [Sharing::Shared, Sharing::Apart] {
                let (tree, rows) = build(&sequences, sharing);
                for (sequence, rows) in sequences.iter().zip(&rows) {
                    for (position, &row) in rows.iter().enumerate() {
                        prop_assert_eq!(&path_to(&tree, row), &sequence[..=position]);
                    }
                    prop_assert_eq!(rows.len(), sequence.len());
                }
                let parents = tree.parents.iter().enumerate();
                prop_assert!(parents.clone().all(|(run, parent)| parent.is_none_or(|p| p < run)));
                prop_assert!(tree.lengths.iter().all(|&len| len > 0));
            }
        }

        #[test]
        fn a_shared_tree_holds_every_beginning_once(
            sequences in prop::collection::vec(prop::collection::vec(0_u32..3, 1..8), 1..12),
        ) {
            let (tree, _) = build(&sequences, Sharing::Shared);
            let mut beginnings: Vec<&[u32]> =
                sequences.iter().flat_map(|s| (1..=s.len()).map(|n| &s[..n])).collect();
            beginnings.sort_unstable();
            beginnings.dedup();
            prop_assert_eq!(tree.tokens.len(), beginnings.len());
            let (apart, _) = build(&sequences, Sharing::Apart);
            prop_assert_eq!(apart.tokens.len(), sequences.iter().map(Vec::len).sum::<usize>());
        }

        #[test]
        fn what_is_shared_is_known_beforehand(
            sequences in prop::collection::vec(prop::collection::vec(0_u32..3, 1..8), 2..12),
        ) {
            let mut builder = TreeBuilder::default();
            for sequence in &sequences {
                let (before, shared) = (builder.n_tokens(), builder.n_shared(sequence));
                builder.insert(sequence, Sharing::Shared);
                prop_assert_eq!(builder.n_tokens(), before + sequence.len() - shared);
            }
        }
    }
}
