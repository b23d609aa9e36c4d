//! Tokens to text while they come.

use rosaq_text::{TextError, Tokenizer};

/// Decodes tokens one by one. A token may hold a part of a character alone, and what a token reads depends on the one before.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
    /// Tokens before these no longer matter to how later ones read.
    context: usize,
    /// Tokens whose text went out.
    shown: usize,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer, tokens: Vec::new(), context: 0, shown: 0 }
    }

    /// The text that `token` completes, empty while a character is not whole.
    pub(crate) fn push(&mut self, token: u32) -> Result<String, TextError> {
        self.tokens.push(token);
        let before = self.tokenizer.decode(&self.tokens[self.context..self.shown])?;
        let now = self.tokenizer.decode(&self.tokens[self.context..])?;
        if now.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        let more = now.strip_prefix(before.as_str()).unwrap_or(&now).to_owned();
        (self.context, self.shown) = (self.shown, self.tokens.len());
        Ok(more)
    }

    /// What was held back of a character that was never completed.
    pub(crate) fn finish(&self) -> Result<String, TextError> {
        let before = self.tokenizer.decode(&self.tokens[self.context..self.shown])?;
        let now = self.tokenizer.decode(&self.tokens[self.context..])?;
        Ok(now.strip_prefix(before.as_str()).unwrap_or("").to_owned())
    }
}
