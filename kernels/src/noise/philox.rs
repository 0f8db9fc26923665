//! The generator, on sixteen blocks at once.

use super::Stream;

/// Blocks computed at once, one in a lane.
pub(super) const BLOCKS: usize = 16;

const ROUNDS: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What the words of the key grow by from round to round.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// The words of blocks `first..first + BLOCKS`, block after block.
#[inline(always)]
pub(super) fn blocks(stream: Stream, first: u64) -> [u32; 4 * BLOCKS] {
    let key = [stream.seed as u32, (stream.seed >> 32) as u32];
    let mut counter =
        [[0; BLOCKS], [0; BLOCKS], [stream.tensor; BLOCKS], [stream.part as u32; BLOCKS]];
    for lane in 0..BLOCKS {
        let block = first + lane as u64;
        counter[0][lane] = block as u32;
        counter[1][lane] = (block >> 32) as u32;
    }
    let columns = encrypt(key, counter);
    let mut words = [0; 4 * BLOCKS];
    for lane in 0..BLOCKS {
        for (word, column) in columns.iter().enumerate() {
            words[4 * lane + word] = column[lane];
        }
    }
    words
}

/// Ten rounds on every lane.
#[inline(always)]
pub(super) fn encrypt(mut key: [u32; 2], mut counter: [[u32; BLOCKS]; 4]) -> [[u32; BLOCKS]; 4] {
    for _ in 0..ROUNDS {
        let [a, b, c, d] = counter;
        for lane in 0..BLOCKS {
            let low = u64::from(MULTIPLIERS[0]) * u64::from(a[lane]);
            let high = u64::from(MULTIPLIERS[1]) * u64::from(c[lane]);
            counter[0][lane] = (high >> 32) as u32 ^ b[lane] ^ key[0];
            counter[1][lane] = high as u32;
            counter[2][lane] = (low >> 32) as u32 ^ d[lane] ^ key[1];
            counter[3][lane] = low as u32;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}
