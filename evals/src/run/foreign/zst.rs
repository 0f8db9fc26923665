//! Files packed with zstd, as several frames after one another.

use std::io::Read as _;

use ruzstd::decoding::StreamingDecoder;

/// Longest file, unpacked, in bytes.
const LARGEST: usize = 1 << 30;

/// The bytes of a file; frames that hold no data, such as a table of the others, are passed over.
///
/// # Errors
///
/// Fails on bytes that are no such frames, and on too many of them.
pub(super) fn unpacked(packed: &[u8]) -> Result<Vec<u8>, String> {
    let (mut rest, mut bytes) = (packed, Vec::new());
    while !rest.is_empty() {
        if let Some((head, after)) = rest.split_at_checked(8)
            && head[1..4] == [0x2a, 0x4d, 0x18]
            && head[0] & 0xf0 == 0x50
        {
            let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            rest = after.get(length..).ok_or("the zstd file ends in the middle")?;
            continue;
        }
        let damaged = |error: String| format!("a zstd file that is damaged or not whole: {error}");
        let frame = StreamingDecoder::new(&mut rest).map_err(|error| damaged(error.to_string()))?;
        let most = (LARGEST - bytes.len()) as u64;
        let read = frame.take(most + 1).read_to_end(&mut bytes);
        read.map_err(|error| damaged(error.to_string()))?;
        if bytes.len() > LARGEST {
            return Err(format!("expected at most {} MiB unpacked, got more", LARGEST >> 20));
        }
    }
    Ok(bytes)
}
