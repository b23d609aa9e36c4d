//! The text as a tree: declarations and statements, names still unresolved.

mod directives;
mod lexer;
mod parser;
mod statements;

pub(crate) use parser::parse;

use crate::types::Type;

/// One PTX text.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'a> {
    pub(crate) variables: Vec<Variable<'a>>,
    pub(crate) functions: Vec<Function<'a>>,
}

/// State spaces of variables and addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
    Param,
}

/// A declared variable or parameter.
#[derive(Clone, Debug)]
pub(crate) struct Variable<'a> {
    pub(crate) name: &'a str,
    pub(crate) line: u32,
    pub(crate) space: Space,
    pub(crate) is_extern: bool,
    pub(crate) align: usize,
    pub(crate) bytes: usize,
}

/// An entry.
#[derive(Debug)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    pub(crate) params: Vec<Variable<'a>>,
    pub(crate) required_threads: Option<[u32; 3]>,
    pub(crate) most_threads: Option<u32>,
    pub(crate) body: Vec<Statement<'a>>,
}

/// One statement of a body.
#[derive(Debug)]
pub(crate) enum Statement<'a> {
    Open,
    Close,
    Label(&'a str),
    /// `.reg .b32 %r<3>, %x;`
    Registers {
        ty: Type,
        names: Vec<(&'a str, Option<u32>)>,
        line: u32,
    },
    Variable(Variable<'a>),
    Instruction(Instruction<'a>),
}

/// An instruction as written.
#[derive(Clone, Debug)]
pub(crate) struct Instruction<'a> {
    pub(crate) line: u32,
    pub(crate) guard: Option<(&'a str, bool)>,
    pub(crate) opcode: &'a str,
    pub(crate) args: Vec<Arg<'a>>,
}

/// An operand as written.
#[derive(Clone, Debug)]
pub(crate) enum Arg<'a> {
    /// A register, symbol, label, special register or `_`.
    Word(&'a str),
    /// A symbol and an offset in bytes.
    Sum(&'a str, i64),
    /// An integer in two's complement.
    Int(u64),
    F32(u32),
    F64(u64),
    /// `!%p`
    Not(&'a str),
    /// `%p|%q`
    Pair(&'a str, &'a str),
    /// `{a, b}`
    Vector(Vec<Self>),
    /// `[a+8]`; an absolute address has no name.
    Address(Option<&'a str>, i64),
}
