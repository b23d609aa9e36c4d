//! Tokens to the statements of a body.

use super::lexer::Kind;
use super::parser::Parser;
use super::{Arg, Instruction, Space, Statement};
use crate::PtxError;
use crate::types::Type;

/// Operands may nest no deeper: `(` or `{` around single operands.
const MAX_DEPTH: u32 = 3;

impl<'a> Parser<'a> {
    /// Statements up to the brace that closes the body.
    pub(super) fn body(&mut self) -> Result<Vec<Statement<'a>>, PtxError> {
        let mut body = Vec::new();
        let mut depth = 0;
        loop {
            match self.peek() {
                Kind::Mark('{') => {
                    self.next();
                    depth += 1;
                    body.push(Statement::Open);
                }
                Kind::Mark('}') => {
                    self.next();
                    if depth == 0 {
                        return Ok(body);
                    }
                    depth -= 1;
                    body.push(Statement::Close);
                }
                Kind::Mark(';') => {
                    self.next();
                }
                Kind::Word(word) if word.starts_with('.') => self.declaration(word, &mut body)?,
                Kind::Word(word) if self.peek_second() == Kind::Mark(':') => {
                    self.label(word, &mut body);
                }
                Kind::Word(_) | Kind::Mark('@') => {
                    let instruction = self.instruction()?;
                    body.push(Statement::Instruction(instruction));
                }
                _ => return Err(self.error("a statement")),
            }
        }
    }

    fn label(&mut self, name: &'a str, body: &mut Vec<Statement<'a>>) {
        self.next();
        self.next();
        body.push(Statement::Label(name));
    }

    fn declaration(
        &mut self,
        word: &'a str,
        body: &mut Vec<Statement<'a>>,
    ) -> Result<(), PtxError> {
        let line = self.line();
        if self.skip_note(word)? {
            return Ok(());
        }
        self.next();
        let space = match word {
            ".reg" => return self.registers(body),
            ".shared" => Space::Shared,
            ".param" => Space::Param,
            _ => return Err(PtxError::Directive { line, name: word.to_owned() }),
        };
        let mut variables = Vec::new();
        self.variables(&mut variables, space, false)?;
        body.extend(variables.into_iter().map(Statement::Variable));
        Ok(())
    }

    fn registers(&mut self, body: &mut Vec<Statement<'a>>) -> Result<(), PtxError> {
        let line = self.line();
        let word = self.word("a type")?;
        let ty = word.strip_prefix('.').and_then(Type::named);
        let Some(ty) = ty.filter(|&ty| ty != Type::B128) else {
            return Err(PtxError::Directive { line, name: word.to_owned() });
        };
        let mut names = Vec::new();
        loop {
            let name = self.word("a register's name")?;
            let mut count = None;
            if self.take('<') {
                let n = self.int()?;
                count = Some(
                    u32::try_from(n)
                        .ok()
                        .filter(|&n| n <= 1 << 20)
                        .ok_or(PtxError::TooLarge { line, name: name.to_owned() })?,
                );
                self.expect('>', "`>`")?;
            }
            names.push((name, count));
            if !self.take(',') {
                break;
            }
        }
        self.expect(';', "`;`")?;
        body.push(Statement::Registers { ty, names, line });
        Ok(())
    }

    fn instruction(&mut self) -> Result<Instruction<'a>, PtxError> {
        let mut guard = None;
        if self.take('@') {
            let is_negated = self.take('!');
            guard = Some((self.word("a predicate")?, is_negated));
        }
        let line = self.line();
        let opcode = self.word("an opcode")?;
        let mut args = Vec::new();
        while !self.take(';') {
            args.push(self.arg(0)?);
            if !self.take(',') && self.peek() != Kind::Mark(';') {
                return Err(self.error("`,` or `;`"));
            }
        }
        Ok(Instruction { line, guard, opcode, args })
    }

    fn arg(&mut self, depth: u32) -> Result<Arg<'a>, PtxError> {
        if depth > MAX_DEPTH {
            return Err(self.error("an operand"));
        }
        match self.next() {
            Kind::Mark('{') => Ok(Arg::Vector(self.list('}', depth)?)),
            Kind::Mark('[') => self.address(),
            Kind::Mark('!') => Ok(Arg::Not(self.word("a predicate")?)),
            Kind::Mark('-') => match self.next() {
                Kind::Int(value) => Ok(Arg::Int(value.wrapping_neg())),
                Kind::F32(bits) => Ok(Arg::F32(bits ^ 1 << 31)),
                Kind::F64(bits) => Ok(Arg::F64(bits ^ 1 << 63)),
                _ => Err(self.error("a number")),
            },
            Kind::Int(value) => Ok(Arg::Int(value)),
            Kind::F32(bits) => Ok(Arg::F32(bits)),
            Kind::F64(bits) => Ok(Arg::F64(bits)),
            Kind::Word(word) => {
                if self.take('|') {
                    return Ok(Arg::Pair(word, self.word("a predicate")?));
                }
                match self.offset()? {
                    Some(offset) => Ok(Arg::Sum(word, offset)),
                    None => Ok(Arg::Word(word)),
                }
            }
            _ => Err(self.error("an operand")),
        }
    }

    fn list(&mut self, end: char, depth: u32) -> Result<Vec<Arg<'a>>, PtxError> {
        let mut args = Vec::new();
        while !self.take(end) {
            args.push(self.arg(depth + 1)?);
            if !self.take(',') && self.peek() != Kind::Mark(end) {
                return Err(self.error("`,` or the end of a list"));
            }
        }
        Ok(args)
    }

    fn offset(&mut self) -> Result<Option<i64>, PtxError> {
        if self.take('+') {
            let sign = if self.take('-') { -1 } else { 1 };
            return Ok(Some((self.int()? as i64).wrapping_mul(sign)));
        }
        if self.take('-') {
            return Ok(Some((self.int()? as i64).wrapping_neg()));
        }
        Ok(None)
    }

    fn address(&mut self) -> Result<Arg<'a>, PtxError> {
        let arg = match self.next() {
            Kind::Word(word) => Arg::Address(Some(word), self.offset()?.unwrap_or(0)),
            Kind::Int(value) => Arg::Address(None, value as i64),
            _ => return Err(self.error("an address")),
        };
        self.expect(']', "`]`")?;
        Ok(arg)
    }
}
