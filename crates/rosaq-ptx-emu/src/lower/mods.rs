//! An opcode and its modifiers, which are taken away as they are understood.

use crate::number::Rounding;
use crate::types::Type;

pub(super) struct Mods<'a> {
    pub(super) opcode: &'a str,
    pub(super) name: &'a str,
    parts: Vec<&'a str>,
}

impl<'a> Mods<'a> {
    pub(super) fn new(opcode: &'a str) -> Self {
        let mut parts = opcode.split('.');
        let name = parts.next().unwrap_or_default();
        Self { opcode, name, parts: parts.collect() }
    }

    /// Takes one modifier away; tells whether it was there.
    pub(super) fn take(&mut self, part: &str) -> bool {
        let at = self.parts.iter().position(|&p| p == part);
        at.map(|at| self.parts.remove(at)).is_some()
    }

    pub(super) fn take_any(&mut self, parts: &[&str]) -> bool {
        parts.iter().fold(false, |any, part| self.take(part) | any)
    }

    /// Takes the first modifier for which `f` has an answer.
    pub(super) fn take_map<T>(&mut self, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (at, value) = self.parts.iter().enumerate().find_map(|(at, p)| Some((at, f(p)?)))?;
        self.parts.remove(at);
        Some(value)
    }

    /// Takes the last modifier, which is a type.
    pub(super) fn take_type(&mut self) -> Option<Type> {
        let ty = self.parts.last().and_then(|name| Type::named(name))?;
        self.parts.pop();
        Some(ty)
    }

    pub(super) fn last_type(&self) -> Option<Type> {
        self.parts.last().and_then(|name| Type::named(name))
    }

    pub(super) fn take_rounding(&mut self) -> Option<Rounding> {
        self.take_map(Rounding::named)
    }

    pub(super) fn left_over(&self) -> Option<&'a str> {
        self.parts.first().copied()
    }
}
