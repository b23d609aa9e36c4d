//! The threads and instructions that work is done with.

use rosaq_cpu::Isa;

use crate::error::PipelineError;

/// Bytes of a thread's stack: as many as a main thread has.
const STACK: usize = 8 << 20;

/// Does `work` on `n` threads, on all cores if not given. The caller waits: work that begins on a thread of the pool need not wake
/// another for each of its steps.
///
/// # Errors
/// [`PipelineError::Machine`] when the operating system gives no threads, or the environment names an instruction set that the
/// processor lacks.
pub fn on_threads<T: Send>(
    n: Option<usize>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, PipelineError> {
    Isa::forced().map_err(PipelineError::Machine)?;
    let mut pool = rayon::ThreadPoolBuilder::new().stack_size(STACK);
    if let Some(n) = n {
        pool = pool.num_threads(n.max(1));
    }
    let pool = pool.build().map_err(|error| PipelineError::Machine(error.to_string()))?;
    Ok(pool.install(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_begins_on_a_thread_of_the_pool() {
        let (n, inside) = on_threads(Some(3), || {
            (rayon::current_num_threads(), rayon::current_thread_index().is_some())
        })
        .unwrap();
        assert_eq!((n, inside), (3, true));
        assert!(on_threads(None, rayon::current_num_threads).unwrap() >= 1);
    }
}
