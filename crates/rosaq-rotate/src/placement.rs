//! Where the rotation of the residual stream is placed, and the rewriting that each placement asks for.

use std::fmt;
use std::str::FromStr;

use faer::{Mat, MatRef};
use rosaq_model::{BlockWeights, ModelEnds};
use rosaq_tensor::Matrix;

use crate::absorb::rotate_input_blocks;
use crate::fuse_norm::{fuse_final_norm, fuse_norms};
use crate::{RotateError, hadamard_rotation, rotate_input, rotate_output};

/// How a rotated residual input reaches the linears. Each leaves the logits unchanged in exact arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// One basis for the whole residual stream, multiplied into every weight that reads or writes it.
    Absorbed,
    /// A basis for each site; the residual passes from one into the next by a dense product.
    Shortcut,
    /// A basis for each site, applied to the linears' input at run time; the residual stays as it was.
    Online,
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absorbed => "absorbed",
            Self::Shortcut => "shortcut",
            Self::Online => "online",
        })
    }
}

/// A word that names no placement.
#[derive(Debug, thiserror::Error)]
#[error("unknown rotation placement `{found}`; known: absorbed, shortcut, online")]
pub struct UnknownPlacement {
    /// The word.
    pub found: String,
}

impl FromStr for Placement {
    type Err = UnknownPlacement;

    fn from_str(word: &str) -> Result<Self, UnknownPlacement> {
        match word {
            "absorbed" => Ok(Self::Absorbed),
            "shortcut" => Ok(Self::Shortcut),
            "online" => Ok(Self::Online),
            other => Err(UnknownPlacement { found: other.to_owned() }),
        }
    }
}

/// The bases around one block; each `hidden_size x hidden_size`, orthogonal. When absorbed, all are the same.
#[derive(Debug, Clone, Copy)]
pub struct ResidualBases<'a> {
    /// At the input of query, key and value.
    pub attention: MatRef<'a, f64>,
    /// At the input of gate and up.
    pub mlp: MatRef<'a, f64>,
    /// At the next block's attention input; the last block repeats its own `mlp`.
    pub next: MatRef<'a, f64>,
}

/// Fuses the block's norms and rotates what it reads from and writes to the residual stream.
pub fn rotate_block(block: &mut BlockWeights, placement: Placement, bases: &ResidualBases<'_>) {
    fuse_norms(block);
    for linear in [&mut block.query, &mut block.key, &mut block.value] {
        rotate_input(&mut linear.weight, bases.attention);
    }
    for linear in [&mut block.gate, &mut block.up] {
        rotate_input(&mut linear.weight, bases.mlp);
    }
    match placement {
        Placement::Absorbed => {
            rotate_output(&mut block.output, bases.attention);
            rotate_output(&mut block.down, bases.attention);
        }
        Placement::Shortcut => {
            rotate_output(&mut block.output, bases.mlp);
            rotate_output(&mut block.down, bases.next);
            block.rotations.shortcut_attention = passage(bases.attention, bases.mlp);
            block.rotations.shortcut_mlp = passage(bases.mlp, bases.next);
        }
        Placement::Online => {
            block.rotations.attention_input = Some(stored(bases.attention));
            block.rotations.mlp_input = Some(stored(bases.mlp));
        }
    }
}

/// Rotates embedding, last norm and head. `first` is the basis in which the first block reads, `last` the one that the last
/// block leaves behind. A tied head keeps the shared table `E R` and gets the input matrix `lastᵀ diag(gain) first`.
pub fn rotate_ends(
    ends: &mut ModelEnds,
    placement: Placement,
    first: MatRef<'_, f64>,
    last: MatRef<'_, f64>,
) {
    if placement == Placement::Online {
        return;
    }
    rotate_input(&mut ends.embedding, first);
    if ends.head.is_some() {
        fuse_final_norm(ends);
        let head = ends.head.as_mut().expect("checked above");
        rotate_input(head, last);
    } else {
        ends.head_input = Some(tied_head_input(&ends.final_norm, first, last));
        ends.final_norm.fill(1.0);
    }
}

/// `lastᵀ diag(gain) first`: what a head reads whose table is the rotated embedding `E first`, when the residual ends in the
/// basis `last`.
///
/// # Panics
/// If there is not one gain a channel.
#[must_use]
pub fn tied_head_input(gain: &[f32], first: MatRef<'_, f64>, last: MatRef<'_, f64>) -> Matrix {
    assert_eq!(gain.len(), last.nrows(), "one gain a channel");
    let scaled = Mat::from_fn(last.nrows(), last.ncols(), |i, j| f64::from(gain[i]) * last[(i, j)]);
    stored((scaled.transpose() * first).as_ref())
}

/// Rotates what the output projection reads by one basis over all heads, `[n_heads * head_dim]` square, which is applied at run
/// time: attention mixes tokens head by head, so that nothing before it can absorb a basis that mixes heads. The paper's
/// "global PCA" (ROSAQ table 3).
pub fn rotate_heads_output(block: &mut BlockWeights, basis: MatRef<'_, f64>) {
    rotate_input(&mut block.output.weight, basis);
    block.rotations.heads_output = Some(stored(basis));
}

/// Rotates what the down projection reads by Walsh-Hadamard transforms of `points` consecutive channels each, which are applied
/// at run time. Source: `QuaRot` (arXiv 2404.00456), section 4, in blocks.
///
/// # Errors
/// [`RotateError::HadamardBlock`] unless `points` is a power of two that divides the channels.
pub fn rotate_down_input(block: &mut BlockWeights, points: usize) -> Result<(), RotateError> {
    let n = block.down.weight.cols;
    if !(points.is_power_of_two() && n.is_multiple_of(points)) {
        return Err(RotateError::HadamardBlock { points, n });
    }
    rotate_input_blocks(&mut block.down.weight, hadamard_rotation(points)?.as_ref());
    block.rotations.down_hadamard = Some(points);
    Ok(())
}

/// The matrix that takes the residual from basis `from` to basis `to`; `None` when they are one.
fn passage(from: MatRef<'_, f64>, to: MatRef<'_, f64>) -> Option<Matrix> {
    if from == to { None } else { Some(stored((from.transpose() * to).as_ref())) }
}

/// `r` as a linear's stored weight `[out, in]`: its transpose, in f32.
#[expect(clippy::cast_possible_truncation, reason = "rotations are applied in f32")]
fn stored(r: MatRef<'_, f64>) -> Matrix {
    let mut m = Matrix::zeros(r.ncols(), r.nrows());
    for out in 0..m.rows {
        for (input, value) in m.row_mut(out).iter_mut().enumerate() {
            *value = r[(input, out)] as f32;
        }
    }
    m
}
