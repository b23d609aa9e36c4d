//! What can be wrong with statistics.

use std::path::PathBuf;

/// Why statistics could not be saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CalibError {
    /// The file system refused.
    #[error("cannot {action} \"{}\"; check the disk's space and permissions", path.display())]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is not one of ours, damaged, or of another version.
    #[error("\"{}\" holds no usable calibration statistics: {reason}; delete it or run again with `--fresh`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// Statistics that a method asked for were not collected.
    #[error(
        "calibration statistics of the {site} hold no Gram matrix; calibrate again with `--fresh`"
    )]
    MissingGram {
        /// The site's word.
        site: &'static str,
    },
}
