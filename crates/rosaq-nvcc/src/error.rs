//! What can go wrong while kernels are compiled.

use std::io;
use std::path::PathBuf;

/// Why kernels could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NvccError {
    /// A program that the tool chain needs is not installed.
    #[error("`{program}` cannot be run; {remedy}")]
    Missing {
        /// The program.
        program: String,
        /// What to install.
        remedy: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("{what} failed:\n{output}")]
    Failed {
        /// What was tried.
        what: String,
        /// What the program said.
        output: String,
    },
    /// The environment lacks the compiler.
    #[error("no file \"{path}\" in the environment; {remedy}", path = path.display())]
    NoTool {
        /// What was looked for.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A file could not be read or written.
    #[error("\"{path}\": cannot be read or written", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The budgets are no legal TOML.
    #[error("\"{path}\" is not a legal table of budgets", path = path.display())]
    Budgets {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: toml::de::Error,
    },
    /// The compiler's output is not as expected.
    #[error("{what}: no notes about an entry in the assembler's output; is the version pinned?")]
    Unreadable {
        /// What was assembled.
        what: String,
    },
}
