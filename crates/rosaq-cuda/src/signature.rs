//! The parameters that PTX declares for a kernel.

/// The type of one parameter of a kernel, as far as its size goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// 8 bytes: an address.
    Address,
    /// 4 bytes: an unsigned number.
    Word,
    /// 4 bytes: an f32.
    Float,
}

/// The parameters of `kernel` in PTX text, in order; `None` if it has no such entry, or one with a parameter of another type.
#[must_use]
pub fn parameters(ptx: &str, kernel: &str) -> Option<Vec<Parameter>> {
    let is_head = |line: &str| {
        let name = line.trim().strip_prefix(".visible .entry ")?;
        let (name, _) = name.split_once('(')?;
        (name == kernel).then_some(())
    };
    let mut lines = ptx.lines();
    lines.by_ref().find(|line| is_head(line).is_some())?;
    let declared = lines.map(str::trim).take_while(|line| *line != ")");
    declared.map(parameter).collect()
}

/// `.param .u64 .ptr .align 1 name,` and its likes.
fn parameter(line: &str) -> Option<Parameter> {
    match line.strip_prefix(".param ")?.split_whitespace().next()? {
        ".u64" => Some(Parameter::Address),
        ".u32" => Some(Parameter::Word),
        ".f32" => Some(Parameter::Float),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Parameter::{Address, Float, Word};

    #[test]
    fn parameters_are_read_in_order() {
        let ptx = ".visible .entry one(\n\t.param .u64 one_0,\n\t.param .u32 one_1,\n\t.param .f32 one_2\n)\n{\n";
        assert_eq!(parameters(ptx, "one"), Some(vec![Address, Word, Float]));
        assert_eq!(parameters(ptx, "on"), None);
        let other = ".visible .entry one(\n\t.param .b8 one_0[16]\n)\n";
        assert_eq!(parameters(other, "one"), None);
    }

    #[test]
    fn committed_kernels_of_linears_share_one_signature() {
        let expected =
            [Address, Word, Word, Word, Address, Word, Word, Address, Word, Word, Address, Address];
        for (ptx, kernel) in [
            (crate::DECODE_PTX, "rosaq_decode"),
            (crate::GEMM_PTX, "rosaq_gemm_32"),
            (crate::GEMM_PTX, "rosaq_gemm_64"),
            (crate::GEMM_PTX, "rosaq_gemm_128"),
        ] {
            assert_eq!(parameters(ptx, kernel).as_deref(), Some(expected.as_slice()), "{kernel}");
        }
    }
}
