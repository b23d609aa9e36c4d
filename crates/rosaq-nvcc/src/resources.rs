//! What the assembler says about registers and memory.

/// What one entry needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Name of the entry.
    pub entry: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of stack.
    pub stack: u32,
    /// Bytes of registers stored to memory for lack of room, and loaded again.
    pub spills: u32,
    /// Bytes of static shared memory.
    pub shared: u32,
    /// Named barriers.
    pub barriers: u32,
}

/// Reads the notes that `ptxas -v` makes.
#[must_use]
pub fn parse_usage(notes: &str) -> Vec<Usage> {
    let mut entries: Vec<Usage> = Vec::new();
    for line in notes.lines() {
        if line.contains("Compiling entry function") {
            let entry = line.split('\'').nth(1).unwrap_or_default().to_owned();
            entries.push(Usage { entry, ..Usage::default() });
        }
        let Some(usage) = entries.last_mut() else { continue };
        if line.contains("bytes stack frame") {
            usage.stack = number_before(line, "bytes stack frame");
            usage.spills = number_before(line, "bytes spill stores")
                + number_before(line, "bytes spill loads");
        } else if line.contains(": Used ") {
            usage.registers = number_before(line, "registers");
            usage.barriers = number_before(line, "barriers");
            usage.shared = number_before(line, "bytes smem");
        }
    }
    entries
}

/// The number that stands before `words`, 0 where there is none.
fn number_before(line: &str, words: &str) -> u32 {
    let before = line.split(words).next().filter(|before| before.len() < line.len());
    before.and_then(|b| b.split_whitespace().next_back()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_the_assembler_are_read() {
        let found = parse_usage(include_str!("samples/ptxas.txt"));
        let usage = |entry: &str, registers, shared, barriers| Usage {
            entry: entry.to_owned(),
            registers,
            shared,
            barriers,
            ..Usage::default()
        };
        let spilling = Usage { stack: 24, spills: 52, ..usage("rosaq_spilling", 40, 0, 0) };
        assert_eq!(found, [usage("rosaq_decode", 128, 16400, 1), spilling]);
    }

    #[test]
    fn other_text_holds_no_entry() {
        assert!(parse_usage("ptxas fatal   : Unresolved extern function 'f'").is_empty());
    }
}
