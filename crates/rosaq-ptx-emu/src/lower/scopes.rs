//! Names within braces, and labels that are used before they stand.

use std::collections::HashMap;

use crate::types::Type;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symbol {
    Register {
        slot: u32,
        ty: Type,
    },
    /// An offset in shared memory.
    Shared(usize),
    /// An offset in the entry's parameters.
    EntryParam(usize),
    DynamicShared,
}

#[derive(Default)]
struct Scope<'a> {
    parent: usize,
    names: HashMap<&'a str, Symbol>,
    /// `%r<5>`: by prefix, the first slot, how many, and the type.
    ranges: HashMap<&'a str, (u32, u32, Type)>,
    labels: HashMap<&'a str, u32>,
}

/// The scopes of all functions decoded so far.
#[derive(Default)]
pub(super) struct Scopes<'a> {
    all: Vec<Scope<'a>>,
    current: usize,
    pub(super) fixups: Vec<Fixup<'a>>,
}

/// A branch to a label whose place is not known yet.
pub(super) struct Fixup<'a> {
    pub(super) label: &'a str,
    scope: usize,
    pub(super) line: u32,
    /// The number of the branch.
    pub(super) at: usize,
}

impl<'a> Scopes<'a> {
    /// Begins a function, which sees no other function's names.
    pub(super) fn begin_function(&mut self) {
        self.all.push(Scope { parent: usize::MAX, ..Scope::default() });
        self.current = self.all.len() - 1;
    }

    pub(super) fn open(&mut self) {
        self.all.push(Scope { parent: self.current, ..Scope::default() });
        self.current = self.all.len() - 1;
    }

    pub(super) fn close(&mut self) {
        let parent = self.all[self.current].parent;
        if parent != usize::MAX {
            self.current = parent;
        }
    }

    pub(super) fn declare(&mut self, name: &'a str, symbol: Symbol) {
        self.all[self.current].names.insert(name, symbol);
    }

    pub(super) fn declare_range(&mut self, prefix: &'a str, first: u32, count: u32, ty: Type) {
        self.all[self.current].ranges.insert(prefix, (first, count, ty));
    }

    pub(super) fn label(&mut self, name: &'a str, pc: u32) {
        self.all[self.current].labels.insert(name, pc);
    }

    pub(super) fn refer(&mut self, label: &'a str, line: u32, at: usize) {
        self.fixups.push(Fixup { label, scope: self.current, line, at });
    }

    /// Where the label of a fixup stands.
    pub(super) fn resolve(&self, fixup: &Fixup<'_>) -> Option<u32> {
        self.search(fixup.scope, |scope| scope.labels.get(fixup.label).copied())
    }

    pub(super) fn find(&self, name: &str) -> Option<Symbol> {
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: Option<u32> = name[prefix.len()..].parse().ok();
        self.search(self.current, |scope| {
            if let Some(&symbol) = scope.names.get(name) {
                return Some(symbol);
            }
            let &(first, count, ty) = scope.ranges.get(prefix)?;
            let number = number.filter(|&n| n < count)?;
            Some(Symbol::Register { slot: first + number, ty })
        })
    }

    fn search<T>(&self, from: usize, f: impl Fn(&Scope<'a>) -> Option<T>) -> Option<T> {
        let mut at = from;
        while let Some(scope) = self.all.get(at) {
            if let Some(found) = f(scope) {
                return Some(found);
            }
            at = scope.parent;
        }
        None
    }
}
