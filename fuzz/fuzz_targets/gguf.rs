//! Any bytes as a GGUF file: an error, or tensors that lie inside of it.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use rosaq_tensor::parse_gguf;

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("fuzz.gguf");
    let Ok(header) = parse_gguf(bytes, path) else { return };
    for tensor in &header.tensors {
        let view = tensor.view(bytes, path);
        assert_eq!(view.dtype.storage_bytes(view.n_elements()), Some(view.bytes.len()));
        if let Ok(values) = view.to_f32() {
            assert_eq!(values.len(), view.n_elements());
        }
    }
});
