//! The digest of a tensor: one function for everything that compares weights.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a tensor: its number (`u32`), the number of its dimensions (`u32`), their sizes
/// (`u64` each) and its values (`f32` each, row-major), all little-endian.
#[derive(Debug, Clone)]
pub struct Digest(Sha256);

impl Digest {
    /// That of a tensor of this number and shape, whose values follow.
    pub fn new(tensor: u32, shape: &[usize]) -> Self {
        let mut hash = Sha256::new();
        hash.update(tensor.to_le_bytes());
        hash.update((shape.len() as u32).to_le_bytes());
        for size in shape {
            hash.update((*size as u64).to_le_bytes());
        }
        Self(hash)
    }

    /// Adds the next values.
    pub fn update(&mut self, values: &[f32]) {
        let mut bytes = [0; 4096];
        for values in values.chunks(bytes.len() / 4) {
            let bytes = &mut bytes[..4 * values.len()];
            for (to, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                *to = value.to_le_bytes();
            }
            self.0.update(bytes);
        }
    }

    /// Adds the little-endian bytes of the next values.
    pub fn update_bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// In hexadecimal digits.
    pub fn finish(self) -> String {
        let mut digits = String::with_capacity(64);
        for byte in self.0.finalize() {
            // Writing to a string does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tensor: u32, shape: &[usize], values: &[f32]) -> String {
        let mut digest = Digest::new(tensor, shape);
        digest.update(values);
        digest.finish()
    }

    /// Computed by Python's hashlib and struct.
    #[test]
    fn it_never_changes() {
        assert_eq!(of(7, &[2, 3], &[0.5, -1.0, 0.0, 3.25, -0.0, 1e-3]), GOLDEN);
    }

    const GOLDEN: &str = "26adbacca5d730b87ca9d183dc859c4dfa0bd921b1425475efd00d3071f2e0a1";

    #[test]
    fn number_shape_values_and_signs_count_and_slices_do_not() {
        let values: Vec<f32> = (0..5000_u16).map(|i| f32::from(i) - 9.0).collect();
        let whole = of(1, &[50, 100], &values);
        let mut sliced = Digest::new(1, &[50, 100]);
        let (first, rest) = values.split_at(1234);
        sliced.update(first);
        sliced.update_bytes(&rest.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
        assert_eq!(sliced.finish(), whole);
        assert_ne!(of(2, &[50, 100], &values), whole);
        assert_ne!(of(1, &[100, 50], &values), whole);
        assert_ne!(of(1, &[1, 50, 100], &values), whole);
        let mut other = values;
        other[9] = -0.0;
        assert_ne!(of(1, &[50, 100], &other), whole);
    }
}
