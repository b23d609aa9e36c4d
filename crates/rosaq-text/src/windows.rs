//! Runs of tokens of one length.

use crate::TextError;

/// Consecutive token windows of one length, without overlap; a shorter rest is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenWindows {
    tokens: Vec<u32>,
    context: usize,
}

impl TokenWindows {
    /// Cuts `tokens` into windows of `context` tokens. There may be none.
    ///
    /// # Errors
    ///
    /// [`TextError::WindowSize`] when `context` is 0.
    pub fn new(mut tokens: Vec<u32>, context: usize) -> Result<Self, TextError> {
        match tokens.len().checked_div(context) {
            None => Err(TextError::WindowSize { n_windows: 1, length: context }),
            Some(n_windows) => {
                tokens.truncate(n_windows * context);
                Ok(Self { tokens, context })
            }
        }
    }

    /// The windows in the order of the text.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.tokens.chunks_exact(self.context)
    }

    /// Only the first `n_windows` windows, or all where there are fewer.
    #[must_use]
    pub fn take(mut self, n_windows: usize) -> Self {
        self.tokens.truncate(n_windows.saturating_mul(self.context));
        self
    }

    /// Number of windows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() / self.context
    }

    /// Whether there is no window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Tokens in each window.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// All tokens of all windows, one window after the other.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n_tokens: u32, context: usize, n_windows: usize) {
        let windows = TokenWindows::new((0..n_tokens).collect(), context).expect("a length");
        assert_eq!(windows.len(), n_windows);
        assert_eq!(windows.is_empty(), n_windows == 0);
        assert_eq!(windows.windows().len(), n_windows);
        let all: Vec<u32> = windows.windows().flatten().copied().collect();
        assert_eq!(all, windows.tokens());
        assert!(all.iter().copied().zip(0..).all(|(token, position)| token == position));
        assert!(windows.windows().all(|window| window.len() == context));
    }

    #[test]
    fn the_rest_is_dropped() {
        check(10, 3, 3);
        check(9, 3, 3);
        check(2, 3, 0);
        check(0, 1, 0);
    }

    #[test]
    fn take_keeps_the_first() {
        let windows = TokenWindows::new((0..10).collect(), 2).expect("a length");
        assert_eq!(windows.clone().take(2).tokens(), [0, 1, 2, 3]);
        assert_eq!(windows.clone().take(99), windows);
        assert!(windows.take(0).is_empty());
    }

    #[test]
    fn no_length_is_refused() {
        let error = TokenWindows::new(vec![1], 0).expect_err("no length");
        assert!(error.to_string().contains("1 windows of 0 tokens"), "{error}");
    }
}
