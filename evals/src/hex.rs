//! Bytes as hexadecimal text.

use std::fmt::Write as _;

/// Two lower-case hexadecimal digits a byte.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
    }
    text
}

/// The bytes of what [`encode`] wrote; of another text those of its pairs of digits.
pub fn decode(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| Some((16 * digit(pair[0])? + digit(pair[1])?) as u8);
    text.as_bytes().chunks_exact(2).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), all);
        assert_eq!(encode(&[0, 10, 255]), "000aff");
        // What is no pair of digits is left out: two bytes of a letter, and a single digit.
        assert_eq!(decode("0aé1f5"), [10, 31]);
    }
}
