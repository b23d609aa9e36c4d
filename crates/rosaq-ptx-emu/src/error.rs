//! What can be wrong with a PTX text.

/// Why a PTX text was refused. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PtxError {
    /// The text does not follow the grammar.
    #[error("PTX line {line}: expected {expected}, found `{found}`")]
    Syntax {
        /// Where.
        line: u32,
        /// What the grammar wants here.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A directive that the emulator does not know.
    #[error("PTX line {line}: directive `{name}` is not supported")]
    Directive {
        /// Where.
        line: u32,
        /// The directive.
        name: String,
    },
    /// An instruction, or one of its modifiers, that the emulator does not know.
    #[error("PTX line {line}: `{opcode}` is not supported: {reason}")]
    Instruction {
        /// Where.
        line: u32,
        /// The whole opcode.
        opcode: String,
        /// Which part of it.
        reason: String,
    },
    /// An operand that does not fit its instruction.
    #[error("PTX line {line}: operand `{operand}` does not fit: {reason}")]
    Operand {
        /// Where.
        line: u32,
        /// The operand.
        operand: String,
        /// Why.
        reason: &'static str,
    },
    /// A name that is not declared, or is declared as something else.
    #[error("PTX line {line}: `{name}` is not declared as {expected}")]
    Name {
        /// Where.
        line: u32,
        /// The name.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Declarations beyond any device.
    #[error("PTX line {line}: `{name}` is too large")]
    TooLarge {
        /// Where.
        line: u32,
        /// What is declared.
        name: String,
    },
}
