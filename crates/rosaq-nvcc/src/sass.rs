//! Instructions of an entry and its loops, from a disassembly.

/// The instructions of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Name of the entry.
    pub entry: String,
    /// Address and text of every instruction.
    pub instructions: Vec<(u64, String)>,
}

/// A loop that holds no other loop: from where a branch goes back to, to the branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// Address of its first instruction.
    pub from: u64,
    /// Instructions.
    pub n_instructions: usize,
    /// Tensor-core instructions among them.
    pub n_hmma: usize,
}

/// Reads what `cuobjdump -sass` prints.
#[must_use]
pub fn parse_sass(text: &str) -> Vec<Listing> {
    let mut listings: Vec<Listing> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(entry) = line.strip_prefix("Function : ") {
            listings.push(Listing { entry: entry.to_owned(), ..Listing::default() });
        } else if let Some(listing) = listings.last_mut() {
            listing.instructions.extend(instruction(line));
        }
    }
    listings
}

/// `/*0a10*/  @P0 BRA 0x140 ;  /* encoding */` as address and text.
fn instruction(line: &str) -> Option<(u64, String)> {
    let (address, rest) = line.strip_prefix("/*")?.split_once("*/")?;
    let (text, _) = rest.split_once(';')?;
    Some((u64::from_str_radix(address, 16).ok()?, text.trim().to_owned()))
}

/// The name of an instruction, without its predicate.
fn name(text: &str) -> &str {
    let mut words = text.split_whitespace();
    match words.next() {
        Some(word) if word.starts_with('@') => words.next().unwrap_or_default(),
        word => word.unwrap_or_default(),
    }
}

/// Names of instructions begin so that read or write a thread's own memory, where spills go.
const LOCAL: [&str; 2] = ["LDL", "STL"];

impl Listing {
    /// Tensor-core instructions.
    #[must_use]
    pub fn n_hmma(&self) -> usize {
        self.instructions.iter().filter(|(_, text)| name(text).starts_with("HMMA")).count()
    }

    /// Accesses to a thread's own memory.
    #[must_use]
    pub fn n_local(&self) -> usize {
        let local = |text: &str| LOCAL.iter().any(|prefix| name(text).starts_with(prefix));
        self.instructions.iter().filter(|(_, text)| local(text)).count()
    }

    /// The innermost loops that hold tensor-core instructions, in order of their addresses.
    #[must_use]
    pub fn tensor_loops(&self) -> Vec<Loop> {
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for (end, (address, text)) in self.instructions.iter().enumerate() {
            let target = name(text).starts_with("BRA").then(|| branch_target(text)).flatten();
            let Some(target) = target.filter(|target| target < address) else { continue };
            if let Ok(start) = self.instructions.binary_search_by_key(&target, |(a, _)| *a) {
                spans.push((start, end));
            }
        }
        spans.retain(|&(start, end)| self.comes_round(start, end));
        let found = spans.iter().map(|&(start, end)| self.span(start, end));
        let with_tensors: Vec<(Loop, (usize, usize))> =
            found.zip(spans.iter().copied()).filter(|(found, _)| found.n_hmma > 0).collect();
        let holds = |outer: (usize, usize), inner: (usize, usize)| {
            outer != inner && outer.0 <= inner.0 && inner.1 <= outer.1
        };
        let innermost = with_tensors
            .iter()
            .filter(|(_, span)| !with_tensors.iter().any(|(_, other)| holds(*span, *other)));
        let mut loops: Vec<Loop> = innermost.map(|(found, _)| *found).collect();
        loops.sort_by_key(|found| found.from);
        loops
    }

    /// Whether the branch at `end` is reached from `start` without leaving the span. If not, it is no loop: rare cases stand at
    /// the end of an entry, from where they jump back to behind the branch that they came by.
    fn comes_round(&self, start: usize, end: usize) -> bool {
        let mut reached = vec![false; end - start + 1];
        let mut waiting = vec![start];
        while let Some(idx) = waiting.pop() {
            if idx < start || idx > end || std::mem::replace(&mut reached[idx - start], true) {
                continue;
            }
            let text = &self.instructions[idx].1;
            let target = name(text).starts_with("BRA").then(|| branch_target(text)).flatten();
            let place = |target| self.instructions.binary_search_by_key(&target, |(a, _)| *a).ok();
            // The way back round is not part of the way there.
            waiting.extend(target.and_then(place).filter(|_| idx != end));
            if !is_final(text) {
                waiting.push(idx + 1);
            }
        }
        reached[end - start]
    }

    fn span(&self, start: usize, end: usize) -> Loop {
        let body = &self.instructions[start..=end];
        let n_hmma = body.iter().filter(|(_, text)| name(text).starts_with("HMMA")).count();
        Loop { from: body[0].0, n_instructions: body.len(), n_hmma }
    }
}

/// Whether an instruction never goes on to the next one: a branch or an end without a condition.
fn is_final(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let leaves = |word: &str| matches!(word, "BRA" | "EXIT" | "RET" | "BRX");
    words.next().is_some_and(leaves) && words.count() <= 1
}

/// Where a branch goes: the last number in hexadecimal.
fn branch_target(text: &str) -> Option<u64> {
    let word = text.split_whitespace().next_back()?;
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_loops_with_tensor_instructions_are_found() {
        let listings = parse_sass(include_str!("samples/sass.txt"));
        assert_eq!(listings.len(), 1);
        let listing = &listings[0];
        assert_eq!((listing.entry.as_str(), listing.instructions.len()), ("rosaq_sample", 10));
        assert_eq!((listing.n_hmma(), listing.n_local()), (2, 1));
        assert_eq!(listing.tensor_loops(), [Loop { from: 0x20, n_instructions: 5, n_hmma: 2 }]);
    }

    #[test]
    fn a_rare_case_that_jumps_back_is_no_loop() {
        let texts = ["@P0 BRA 0x50", "HMMA.16816.F32 R4, R8, R12, R4", "LDG.E R2, [R2.64]"];
        let after = ["EXIT", "NOP", "MOV R1, R2", "BRA 0x10"];
        let instructions = texts.into_iter().chain(after).enumerate();
        let instructions = instructions.map(|(i, text)| (16 * i as u64, text.to_owned())).collect();
        let listing = Listing { entry: "rare".to_owned(), instructions };
        assert_eq!(listing.tensor_loops(), []);
    }
}
