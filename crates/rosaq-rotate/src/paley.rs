//! Paley's two constructions of Hadamard matrices from finite fields.

use crate::finite_field::{QuadraticCharacter, prime_power};

/// A square matrix of signs, row after row.
#[derive(Debug)]
pub(crate) struct SignMatrix {
    pub(crate) order: usize,
    pub(crate) signs: Vec<i8>,
}

/// Whether one of Paley's constructions gives this order.
pub(crate) fn is_paley_order(order: usize) -> bool {
    first_field(order).or_else(|| second_field(order)).is_some()
}

/// Paley's Hadamard matrix of this order, of the first kind if there is one. Source: Paley, "On orthogonal matrices",
/// J. Math. Phys. 12 (1933).
pub(crate) fn paley(order: usize) -> Option<SignMatrix> {
    match first_field(order) {
        Some(q) => first(q),
        None => second(second_field(order)?),
    }
}

/// The field of the first construction: a prime power `q = order - 1`, 3 modulo 4.
fn first_field(order: usize) -> Option<usize> {
    let q = order.checked_sub(1)?;
    (q % 4 == 3 && prime_power(q).is_some()).then_some(q)
}

/// The field of the second construction: a prime power `q = order / 2 - 1`, 1 modulo 4.
fn second_field(order: usize) -> Option<usize> {
    let q = (order / 2).checked_sub(1)?;
    (order.is_multiple_of(2) && q % 4 == 1 && prime_power(q).is_some()).then_some(q)
}

/// `1 + S` with the skew `S = [[0, 1], [-1, Q]]`, where `Q` holds the characters of differences of field elements.
fn first(q: usize) -> Option<SignMatrix> {
    let character = QuadraticCharacter::of_field(q)?;
    let entry = |row, col| match (row, col) {
        (0, _) => 1,
        (_, 0) => -1,
        (row, col) if row == col => 1,
        (row, col) => character.of_difference(row - 1, col - 1),
    };
    Some(from_fn(q + 1, entry))
}

/// `C ⊗ [[1, 1], [1, -1]] + 1 ⊗ [[1, -1], [-1, -1]]` with the symmetric conference matrix `C = [[0, 1], [1, Q]]`.
fn second(q: usize) -> Option<SignMatrix> {
    let character = QuadraticCharacter::of_field(q)?;
    let conference = |row: usize, col: usize| match (row, col) {
        (row, col) if row == col => 0,
        (0, _) | (_, 0) => 1,
        (row, col) => character.of_difference(row - 1, col - 1),
    };
    let entry = |row: usize, col: usize| {
        let inner = (row % 2, col % 2);
        match conference(row / 2, col / 2) {
            0 if inner == (0, 0) => 1,
            0 => -1,
            c if inner == (1, 1) => -c,
            c => c,
        }
    };
    Some(from_fn(2 * (q + 1), entry))
}

fn from_fn(order: usize, entry: impl Fn(usize, usize) -> i8) -> SignMatrix {
    let signs = (0..order * order).map(|i| entry(i / order, i % order)).collect();
    SignMatrix { order, signs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(order: usize) {
        let matrix = paley(order).unwrap();
        assert_eq!(matrix.order, order);
        let rows: Vec<&[i8]> = matrix.signs.chunks(order).collect();
        for (i, a) in rows.iter().enumerate() {
            assert!(a.iter().all(|s| s.abs() == 1));
            for (j, b) in rows.iter().enumerate() {
                let dot: i32 = a.iter().zip(*b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
                let expected = if i == j { i32::try_from(order).unwrap() } else { 0 };
                assert_eq!(dot, expected, "rows {i} and {j} of order {order}");
            }
        }
    }

    #[test]
    fn rows_are_orthogonal_in_integers() {
        for order in [4, 8, 12, 20, 28, 32, 36, 44, 52, 60, 76, 100, 108, 140, 148, 344] {
            check(order);
        }
    }

    #[test]
    fn other_orders_are_refused() {
        for order in [0, 1, 3, 5, 6, 16, 40, 92, 172] {
            assert!(!is_paley_order(order), "{order}");
            assert!(paley(order).is_none(), "{order}");
        }
    }
}
