//! Tokens to declarations.

use super::lexer::{Kind, Token, tokens};
use super::{Function, Parsed, Space, Variable};
use crate::PtxError;
use crate::types::Type;

/// The most bytes of one variable: more than any device has of shared or constant memory.
const MAX_VARIABLE: usize = 1 << 28;

/// Reads a whole PTX text.
pub(crate) fn parse(text: &str) -> Result<Parsed<'_>, PtxError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0 };
    let mut parsed = Parsed::default();
    while parser.peek() != Kind::End {
        parser.top_level(&mut parsed)?;
    }
    Ok(parsed)
}

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Kind<'a> {
        self.tokens[self.at].kind
    }

    pub(super) fn peek_second(&self) -> Kind<'a> {
        self.tokens.get(self.at + 1).map_or(Kind::End, |token| token.kind)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    pub(super) fn next(&mut self) -> Kind<'a> {
        let kind = self.peek();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    pub(super) fn error(&self, expected: &'static str) -> PtxError {
        let found = match self.peek() {
            Kind::Word(word) | Kind::Text(word) => word.chars().take(60).collect(),
            Kind::Int(value) => value.to_string(),
            Kind::F32(bits) => format!("0f{bits:08x}"),
            Kind::F64(bits) => format!("0d{bits:016x}"),
            Kind::Mark(mark) => mark.to_string(),
            Kind::End => "end of text".to_owned(),
        };
        PtxError::Syntax { line: self.line(), expected, found }
    }

    pub(super) fn take(&mut self, mark: char) -> bool {
        let is_there = self.peek() == Kind::Mark(mark);
        if is_there {
            self.next();
        }
        is_there
    }

    pub(super) fn expect(&mut self, mark: char, name: &'static str) -> Result<(), PtxError> {
        if self.take(mark) { Ok(()) } else { Err(self.error(name)) }
    }

    pub(super) fn word(&mut self, expected: &'static str) -> Result<&'a str, PtxError> {
        let Kind::Word(word) = self.peek() else { return Err(self.error(expected)) };
        self.next();
        Ok(word)
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let is_there = self.peek() == Kind::Word(word);
        if is_there {
            self.next();
        }
        is_there
    }

    pub(super) fn int(&mut self) -> Result<u64, PtxError> {
        let Kind::Int(value) = self.peek() else { return Err(self.error("an integer")) };
        self.next();
        Ok(value)
    }

    fn top_level(&mut self, parsed: &mut Parsed<'a>) -> Result<(), PtxError> {
        if self.take(';') {
            return Ok(());
        }
        let line = self.line();
        let Kind::Word(word) = self.peek() else { return Err(self.error("a directive")) };
        if self.skip_note(word)? {
            return Ok(());
        }
        let mut is_extern = false;
        loop {
            match self.word("a directive")? {
                ".visible" | ".weak" | ".common" => {}
                ".extern" => is_extern = true,
                ".entry" => return self.function(parsed),
                ".global" => {
                    return self.variables(&mut parsed.variables, Space::Global, is_extern);
                }
                ".shared" => {
                    return self.variables(&mut parsed.variables, Space::Shared, is_extern);
                }
                name => return Err(PtxError::Directive { line, name: name.to_owned() }),
            }
        }
    }

    fn function(&mut self, parsed: &mut Parsed<'a>) -> Result<(), PtxError> {
        let name = self.word("an entry's name")?;
        let params = if self.peek() == Kind::Mark('(') { self.params()? } else { Vec::new() };
        let mut function =
            Function { name, params, required_threads: None, most_threads: None, body: Vec::new() };
        self.function_directives(&mut function)?;
        self.expect('{', "an entry's body")?;
        function.body = self.body()?;
        parsed.functions.push(function);
        Ok(())
    }

    fn params(&mut self) -> Result<Vec<Variable<'a>>, PtxError> {
        self.expect('(', "`(`")?;
        let mut params = Vec::new();
        while !self.take(')') {
            match self.word("a parameter")? {
                ".param" => params.push(self.variable(Space::Param, false)?),
                name => {
                    let (line, name) = (self.line(), name.to_owned());
                    return Err(PtxError::Directive { line, name });
                }
            }
            if !self.take(',') && self.peek() != Kind::Mark(')') {
                return Err(self.error("`,` or `)`"));
            }
        }
        Ok(params)
    }

    /// The rest of a declaration after its state space, up to the semicolon.
    pub(super) fn variables(
        &mut self,
        into: &mut Vec<Variable<'a>>,
        space: Space,
        is_extern: bool,
    ) -> Result<(), PtxError> {
        into.push(self.variable(space, is_extern)?);
        self.expect(';', "`;` after a variable")
    }

    pub(super) fn variable(
        &mut self,
        space: Space,
        is_extern: bool,
    ) -> Result<Variable<'a>, PtxError> {
        let mut align = None;
        let mut n_vector = 1;
        let ty = loop {
            let line = self.line();
            match self.word("a type")? {
                ".align" => align = Some(self.int()? as usize),
                ".v2" => n_vector = 2,
                ".v4" => n_vector = 4,
                word => match word.strip_prefix('.').and_then(Type::named) {
                    Some(ty) => {
                        if self.peek() == Kind::Word(".ptr") {
                            self.next();
                            self.pointer_attributes()?;
                        }
                        break ty;
                    }
                    None => return Err(PtxError::Directive { line, name: word.to_owned() }),
                },
            }
        };
        self.declarator(space, is_extern, ty, align, n_vector)
    }

    /// Attributes of pointer parameters: `.ptr .global .align 4`.
    fn pointer_attributes(&mut self) -> Result<(), PtxError> {
        for space in [".global", ".shared", ".const", ".local"] {
            self.take_word(space);
        }
        if self.take_word(".align") {
            self.int()?;
        }
        Ok(())
    }

    fn declarator(
        &mut self,
        space: Space,
        is_extern: bool,
        ty: Type,
        align: Option<usize>,
        n_vector: usize,
    ) -> Result<Variable<'a>, PtxError> {
        let line = self.line();
        let name = self.word("a variable's name")?;
        let too_large = || PtxError::TooLarge { line, name: name.to_owned() };
        let mut n_elements = Some(n_vector);
        let mut is_open = false;
        while self.take('[') {
            if self.take(']') {
                is_open = true;
                continue;
            }
            let n = self.int()? as usize;
            self.expect(']', "`]`")?;
            n_elements = n_elements.and_then(|elements| elements.checked_mul(n));
        }
        let declared = n_elements.and_then(|n| n.checked_mul(ty.bytes())).ok_or_else(too_large)?;
        let bytes = if is_open && is_extern { 0 } else { declared };
        let align = align.unwrap_or(ty.bytes() * n_vector);
        if bytes > MAX_VARIABLE || !align.is_power_of_two() || align > 1024 {
            return Err(too_large());
        }
        Ok(Variable { name, line, space, is_extern, align, bytes })
    }
}
