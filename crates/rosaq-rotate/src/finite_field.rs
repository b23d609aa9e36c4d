//! The quadratic character of a finite field, found by squaring every element.

/// The quadratic character of `GF(q)`, `q` odd: 1 on squares, -1 on the rest, 0 on zero. Elements are numbered `0..q`: the
/// digits of an index in base `p` are the coefficients of a polynomial over `GF(p)`, the lowest first.
#[derive(Debug)]
pub(crate) struct QuadraticCharacter {
    characteristic: usize,
    values: Vec<i8>,
}

impl QuadraticCharacter {
    /// Of the field with `q` elements; `None` unless `q` is the power of an odd prime.
    pub(crate) fn of_field(q: usize) -> Option<Self> {
        let (p, degree) = prime_power(q)?;
        if p == 2 {
            return None;
        }
        // A q-th of all monic polynomials of this degree is irreducible, times q / degree: the search is short.
        let mut moduli = (0..q).map(|index| digits(index, p, degree));
        let is_square = moduli.find_map(|modulus| squares(p, &modulus))?;
        let value = |(index, square)| match (index, square) {
            (0, _) => 0,
            (_, true) => 1,
            (_, false) => -1,
        };
        Some(Self {
            characteristic: p,
            values: is_square.into_iter().enumerate().map(value).collect(),
        })
    }

    /// The character of element `a` minus element `b`.
    pub(crate) fn of_difference(&self, mut a: usize, mut b: usize) -> i8 {
        let p = self.characteristic;
        let (mut index, mut place) = (0, 1);
        while a > 0 || b > 0 {
            index += (a % p + p - b % p) % p * place;
            (a, b, place) = (a / p, b / p, place * p);
        }
        self.values[index]
    }
}

/// `(p, k)` when `q = p^k` for a prime `p` and `k >= 1`.
pub(crate) fn prime_power(q: usize) -> Option<(usize, usize)> {
    if q < 2 {
        return None;
    }
    let p = (2..).take_while(|d| d * d <= q).find(|d| q.is_multiple_of(*d)).unwrap_or(q);
    let (mut rest, mut exponent) = (q, 0);
    while rest.is_multiple_of(p) {
        rest /= p;
        exponent += 1;
    }
    (rest == 1).then_some((p, exponent))
}

/// Which elements of `GF(p)[t]` modulo the monic polynomial with these lower coefficients are squares; `None` when the
/// polynomial is reducible, so that there is no field.
///
/// No irreducibility test is needed: if `u v = 0` with neither zero, `x = (u + v) / 2` and `y = (u - v) / 2` have
/// `x² = y²` but `x` is not `y` or `-y`. So the ring is a field exactly if nonzero elements have `(q - 1) / 2` squares and
/// none of them is zero.
fn squares(p: usize, modulus: &[usize]) -> Option<Vec<bool>> {
    let q = p.pow(u32::try_from(modulus.len()).ok()?);
    let mut is_square = vec![false; q];
    for element in 1..q {
        let square = square(element, p, modulus);
        if square == 0 {
            return None;
        }
        is_square[square] = true;
    }
    (is_square.iter().filter(|&&s| s).count() == (q - 1) / 2).then_some(is_square)
}

fn square(element: usize, p: usize, modulus: &[usize]) -> usize {
    let degree = modulus.len();
    let factor = digits(element, p, degree);
    let mut product = vec![0; 2 * degree - 1];
    for (i, a) in factor.iter().enumerate() {
        for (j, b) in factor.iter().enumerate() {
            product[i + j] = (product[i + j] + a * b) % p;
        }
    }
    for high in (degree..product.len()).rev() {
        let leading = product[high];
        for (low, m) in (high - degree..high).zip(modulus) {
            product[low] = (product[low] + leading * (p - m)) % p;
        }
    }
    product[..degree].iter().rev().fold(0, |index, digit| index * p + digit)
}

fn digits(mut index: usize, p: usize, n_digits: usize) -> Vec<usize> {
    let mut next = || {
        let digit = index % p;
        index /= p;
        digit
    };
    (0..n_digits).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prime_powers_are_told_from_the_rest() {
        assert_eq!(prime_power(343), Some((7, 3)));
        assert_eq!(prime_power(171), None);
        assert_eq!(prime_power(19), Some((19, 1)));
        assert_eq!(prime_power(64), Some((2, 6)));
        assert_eq!(prime_power(1), None);
        assert_eq!(prime_power(0), None);
        assert!(QuadraticCharacter::of_field(8).is_none());
        assert!(QuadraticCharacter::of_field(15).is_none());
    }

    #[test]
    fn a_prime_field_agrees_with_eulers_criterion() {
        for p in [3_usize, 5, 19, 37, 101] {
            let character = QuadraticCharacter::of_field(p).unwrap();
            for a in 1..p {
                let power = (0..(p - 1) / 2).fold(1, |x, _| x * a % p);
                let expected = if power == 1 { 1 } else { -1 };
                assert_eq!(character.of_difference(a, 0), expected, "{a} modulo {p}");
            }
        }
    }

    /// Jacobsthal: the shifted correlation of the character is q - 1 at zero and -1 elsewhere, in fields alone.
    #[test]
    fn autocorrelation_is_that_of_a_field() {
        for q in [9_usize, 25, 27, 49, 81, 343] {
            let character = QuadraticCharacter::of_field(q).unwrap();
            for shift in [0, 1, q / 2, q - 1] {
                let correlation: i32 = (0..q)
                    .map(|x| {
                        let values =
                            (character.of_difference(x, 0), character.of_difference(x, shift));
                        i32::from(values.0) * i32::from(values.1)
                    })
                    .sum();
                let expected = if shift == 0 { i32::try_from(q).unwrap() - 1 } else { -1 };
                assert_eq!(correlation, expected, "q {q}, shift {shift}");
            }
        }
    }
}
