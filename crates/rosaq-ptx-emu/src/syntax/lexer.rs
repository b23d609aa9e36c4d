//! Characters to tokens.

use crate::PtxError;

/// One token and the line that it stands on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) line: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind<'a> {
    /// A name with its dots: `ld.global.u32`, `%tid.x`, `.reg`, `$L_1`.
    Word(&'a str),
    Int(u64),
    F32(u32),
    F64(u64),
    Text(&'a str),
    Mark(char),
    End,
}

/// All tokens, ended by [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, PtxError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::with_capacity(text.len() / 6);
    loop {
        lexer.skip_blank()?;
        let line = lexer.line;
        let kind = lexer.next_kind()?;
        tokens.push(Token { kind, line });
        if kind == Kind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, expected: &'static str, found: &str) -> PtxError {
        PtxError::Syntax {
            line: self.line,
            expected,
            found: found.chars().take(40).collect::<String>(),
        }
    }

    fn skip_blank(&mut self) -> Result<(), PtxError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'/', b'/') => {
                    while self.at < self.text.len() && self.peek(0) != b'\n' {
                        self.at += 1;
                    }
                }
                (b'/', b'*') => {
                    let rest = &self.text[self.at..];
                    let n = rest.find("*/").ok_or_else(|| self.error("`*/`", "end of text"))?;
                    self.line += rest[..n].bytes().filter(|&b| b == b'\n').count() as u32;
                    self.at += n + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next_kind(&mut self) -> Result<Kind<'a>, PtxError> {
        if self.at >= self.text.len() {
            return Ok(Kind::End);
        }
        match self.peek(0) {
            b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b if is_word_start(b) => Ok(Kind::Word(self.word())),
            b if b.is_ascii_punctuation() => {
                self.at += 1;
                Ok(Kind::Mark(char::from(b)))
            }
            _ => {
                let found = self.text.get(self.at..).unwrap_or("a broken character");
                Err(self.error("a token", found.get(..1).unwrap_or("a foreign character")))
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let start = self.at;
        self.at += 1;
        loop {
            let b = self.peek(0);
            if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.') {
                self.at += 1;
            } else if b == b':' && self.peek(1) == b':' && self.peek(2).is_ascii_alphanumeric() {
                self.at += 2;
            } else {
                return &self.text[start..self.at];
            }
        }
    }

    fn string(&mut self) -> Result<Kind<'a>, PtxError> {
        let rest = &self.text[self.at + 1..];
        let n = rest.find(['"', '\n']).unwrap_or(rest.len());
        if rest.as_bytes().get(n) != Some(&b'"') {
            return Err(self.error("a closing quotation mark", &rest[..n]));
        }
        self.at += n + 2;
        Ok(Kind::Text(&rest[..n]))
    }

    fn number(&mut self) -> Result<Kind<'a>, PtxError> {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == b'_' {
            self.at += 1;
        }
        let is_hex = self.text[start..].starts_with("0x") || self.text[start..].starts_with("0X");
        if self.peek(0) == b'.' && self.peek(1).is_ascii_digit() && !is_hex {
            return self.decimal_fraction(start);
        }
        let digits = &self.text[start..self.at];
        parse_number(digits).ok_or_else(|| self.error("a number", digits))
    }

    fn decimal_fraction(&mut self, start: usize) -> Result<Kind<'a>, PtxError> {
        self.at += 1;
        loop {
            let is_exponent_sign = matches!(self.peek(0), b'+' | b'-')
                && matches!(self.text.as_bytes()[self.at - 1], b'e' | b'E');
            if !(self.peek(0).is_ascii_alphanumeric() || is_exponent_sign) {
                break;
            }
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let value: f64 = text.parse().map_err(|_| self.error("a number", text))?;
        Ok(Kind::F64(value.to_bits()))
    }
}

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || matches!(b, b'_' | b'$' | b'%' | b'.')
}

fn parse_number(digits: &str) -> Option<Kind<'static>> {
    let hex = |digits: &str, n: usize| {
        if digits.len() == n { u64::from_str_radix(digits, 16).ok() } else { None }
    };
    if let Some(digits) = digits.strip_prefix("0f").or(digits.strip_prefix("0F")) {
        return hex(digits, 8).map(|bits| Kind::F32(bits as u32));
    }
    if let Some(digits) = digits.strip_prefix("0d").or(digits.strip_prefix("0D")) {
        return hex(digits, 16).map(Kind::F64);
    }
    let digits = digits.strip_suffix('U').unwrap_or(digits);
    let parsed = if let Some(digits) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        u64::from_str_radix(digits, 16)
    } else if let Some(digits) = digits.strip_prefix("0b").or(digits.strip_prefix("0B")) {
        u64::from_str_radix(digits, 2)
    } else if digits.len() > 1 && digits.starts_with('0') {
        u64::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    parsed.ok().map(Kind::Int)
}
