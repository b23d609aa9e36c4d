//! The number of threads.

/// Lets everything run on `n` threads; at least one. To be called once, before any work.
///
/// # Errors
/// If the thread pool stands already.
pub fn use_threads(n: usize) -> Result<(), rayon::ThreadPoolBuildError> {
    rayon::ThreadPoolBuilder::new().num_threads(n.max(1)).build_global()
}
