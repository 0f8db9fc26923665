//! Columns of numbers as bytes: u32 length of the header, the header as JSON, zeros up to a
//! multiple of 8, then the columns as f64, all little-endian.

use serde::Serialize;

/// The bytes of a header and columns.
pub(crate) fn encode<'a>(
    header: &impl Serialize,
    columns: impl IntoIterator<Item = &'a [f64]>,
) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("plain fields become JSON");
    let mut bytes = (header.len() as u32).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    for column in columns {
        bytes.extend(column.iter().flat_map(|value| value.to_le_bytes()));
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_at_a_multiple_of_8() {
        let bytes = encode(&["ab"], [&[1.5, -2.0][..], &[f64::INFINITY, 0.0]]);
        assert_eq!(bytes[..4], 6_u32.to_le_bytes());
        assert_eq!(&bytes[4..10], b"[\"ab\"]");
        assert_eq!(bytes.len(), 16 + 4 * 8);
        assert_eq!(bytes[16..24], 1.5_f64.to_le_bytes());
        assert_eq!(bytes[32..40], f64::INFINITY.to_le_bytes());
    }
}
