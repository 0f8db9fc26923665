//! Words to numbers of each kind.

use std::f32::consts::TAU;

use super::Kind;
use super::philox::BLOCKS;

/// Numbers of the kind that has most of them in [`BLOCKS`] blocks.
pub(super) const GROUP: usize = BITS * WORDS;

const WORDS: usize = 4 * BLOCKS;
const BITS: usize = 32;
const SIGN: u32 = 1 << 31;

/// `1 / sqrt(8)`: over the standard deviation of the number of set bits in a word.
const OVER_DEVIATION: f32 = 0.353_553_38;

/// Numbers in [`BLOCKS`] blocks.
#[inline(always)]
pub(super) fn per_group(kind: Kind) -> usize {
    match kind {
        Kind::Rademacher => GROUP,
        Kind::Binomial | Kind::Gaussian => WORDS,
    }
}

/// `c z` for the numbers `z` of a group of blocks.
#[inline(always)]
pub(super) fn scaled(kind: Kind, words: &[u32; WORDS], c: f32, to: &mut [f32; GROUP]) {
    match kind {
        Kind::Rademacher => {
            let c = c.to_bits();
            for (word, to) in words.iter().zip(to.as_chunks_mut::<BITS>().0) {
                for bit in 0..BITS {
                    to[bit] = f32::from_bits(c ^ ((word << (BITS - 1 - bit)) & SIGN));
                }
            }
        }
        Kind::Binomial => {
            for i in 0..WORDS {
                let z = (words[i].count_ones() as f32 - 16.0) * OVER_DEVIATION;
                to[i] = c * z;
            }
        }
        Kind::Gaussian => {
            let (words, _) = words.as_chunks::<2>();
            for (words, to) in words.iter().zip(to.as_chunks_mut::<2>().0) {
                *to = normal(*words).map(|z| c * z);
            }
        }
    }
}

/// Two independent normal numbers.
///
/// Source: Box and Muller 1958, "A note on the generation of random normal deviates".
#[inline]
fn normal(words: [u32; 2]) -> [f32; 2] {
    let [u, v] = words.map(|word| ((word >> 8) as f32 + 0.5) / 16_777_216.0);
    let radius = (-2.0 * libm::logf(u)).sqrt();
    let angle = TAU * v;
    [radius * libm::cosf(angle), radius * libm::sinf(angle)]
}
