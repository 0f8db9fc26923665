//! The blocks of quantised GGUF tensors, decoded to `f32`.
//!
//! A value is a scale times a whole number, and in some types plus a minimum, each rounded on its
//! own: the same bits as ggml's `dequantize_row_*` give. Bytes are those of the file, little
//! endian.

mod legacy;
mod super_blocks;
#[cfg(test)]
mod tests;

use crate::simd::{Kernel, LANES, Simd, dispatch};

/// How a row of a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// As it is.
    F32,
    /// IEEE's half precision.
    F16,
    /// The upper half of an `f32`.
    Bf16,
    /// 32 values of 4 bits, and a scale.
    Q4_0,
    /// 32 values of 4 bits, a scale and a minimum.
    Q4_1,
    /// 32 values of 5 bits, and a scale.
    Q5_0,
    /// 32 values of 5 bits, a scale and a minimum.
    Q5_1,
    /// 32 values of 8 bits, and a scale.
    Q8_0,
    /// 256 values of 2 bits, with scales and minima of 16 each.
    Q2K,
    /// 256 values of 3 bits, with scales of 16 each.
    Q3K,
    /// 256 values of 4 bits, with scales and minima of 32 each.
    Q4K,
    /// 256 values of 5 bits, with scales and minima of 32 each.
    Q5K,
    /// 256 values of 6 bits, with scales of 16 each.
    Q6K,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// Values of a block, and its bytes.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of so many values, if these are whole blocks.
    pub fn bytes(self, values: usize) -> Option<usize> {
        let (block, bytes) = self.block();
        values.is_multiple_of(block).then(|| values / block * bytes)
    }
}

/// Decodes whole blocks.
///
/// Shapes: `bytes` are those of as many values as `out` has.
///
/// # Panics
///
/// Panics when `out` does not have the values of whole blocks, or `bytes` another length than they
/// take.
///
/// Source: `ggml-quants.c` of ggml.
pub fn decode(format: Format, bytes: &[u8], out: &mut [f32]) {
    assert_eq!(format.bytes(out.len()), Some(bytes.len()), "bytes of {} values", out.len());
    dispatch(Decode { format, bytes, out });
}

/// Whether every scale and minimum is finite, and with them every value that can be decoded.
///
/// Shapes: `bytes` are those of whole blocks.
pub fn is_finite(format: Format, bytes: &[u8]) -> bool {
    // Where in a block the numbers in half precision are.
    let halves: &[usize] = match format {
        Format::F32 => {
            let (values, _) = bytes.as_chunks::<4>();
            return values.iter().all(|x| f32::from_le_bytes(*x).is_finite());
        }
        Format::Bf16 => {
            let (values, _) = bytes.as_chunks::<2>();
            return values.iter().all(|x| bf16(*x).is_finite());
        }
        Format::F16 | Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q2K => &[80, 82],
        Format::Q3K => &[108],
        Format::Q6K => &[208],
    };
    let (_, size) = format.block();
    let finite = |block: &[u8], at: usize| f16([block[at], block[at + 1]]).is_finite();
    bytes.chunks_exact(size).all(|block| halves.iter().all(|&at| finite(block, at)))
}

struct Decode<'a> {
    format: Format,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Kernel for Decode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { format, bytes, out } = self;
        match format {
            Format::F32 => each::<S, Plain, 4, 1>(s, bytes, out),
            Format::F16 => {
                let whole = out.len() / LANES * LANES;
                let ((lanes, rest), (some, few)) =
                    (bytes.split_at(2 * whole), out.split_at_mut(whole));
                each::<S, F16, { 2 * LANES }, LANES>(s, lanes, some);
                each::<S, F16, 2, 1>(s, rest, few);
            }
            Format::Bf16 => each::<S, Bf16, 2, 1>(s, bytes, out),
            Format::Q4_0 => each::<S, legacy::Q4_0, 18, 32>(s, bytes, out),
            Format::Q4_1 => each::<S, legacy::Q4_1, 20, 32>(s, bytes, out),
            Format::Q5_0 => each::<S, legacy::Q5_0, 22, 32>(s, bytes, out),
            Format::Q5_1 => each::<S, legacy::Q5_1, 24, 32>(s, bytes, out),
            Format::Q8_0 => each::<S, legacy::Q8_0, 34, 32>(s, bytes, out),
            Format::Q2K => each::<S, super_blocks::Q2K, 84, 256>(s, bytes, out),
            Format::Q3K => each::<S, super_blocks::Q3K, 110, 256>(s, bytes, out),
            Format::Q4K => each::<S, super_blocks::Q4K, 144, 256>(s, bytes, out),
            Format::Q5K => each::<S, super_blocks::Q5K, 176, 256>(s, bytes, out),
            Format::Q6K => each::<S, super_blocks::Q6K, 210, 256>(s, bytes, out),
        }
    }
}

/// Decodes a block. A type and no closure: a vector instruction is one only in a function that is
/// inlined always.
trait Block<const BYTES: usize, const VALUES: usize> {
    fn decode<S: Simd>(s: S, block: &[u8; BYTES], out: &mut [f32; VALUES]);
}

/// Decodes one block after the other.
#[inline(always)]
fn each<S: Simd, B: Block<BYTES, VALUES>, const BYTES: usize, const VALUES: usize>(
    s: S,
    bytes: &[u8],
    out: &mut [f32],
) {
    let ((blocks, _), (values, _)) = (bytes.as_chunks(), out.as_chunks_mut());
    for (block, values) in blocks.iter().zip(values) {
        B::decode(s, block, values);
    }
}

struct Plain;

impl Block<4, 1> for Plain {
    #[inline(always)]
    fn decode<S: Simd>(_: S, block: &[u8; 4], [out]: &mut [f32; 1]) {
        *out = f32::from_le_bytes(*block);
    }
}

struct F16;

impl Block<2, 1> for F16 {
    #[inline(always)]
    fn decode<S: Simd>(_: S, block: &[u8; 2], [out]: &mut [f32; 1]) {
        *out = f16(*block);
    }
}

/// As many as a vector has lanes.
impl Block<{ 2 * LANES }, LANES> for F16 {
    #[inline(always)]
    fn decode<S: Simd>(s: S, block: &[u8; 2 * LANES], out: &mut [f32; LANES]) {
        let mut halves = [0; LANES];
        let (bytes, _) = block.as_chunks::<2>();
        for (half, bytes) in halves.iter_mut().zip(bytes) {
            *half = u16::from_le_bytes(*bytes);
        }
        s.store(out, s.widen_halves(&halves));
    }
}

struct Bf16;

impl Block<2, 1> for Bf16 {
    #[inline(always)]
    fn decode<S: Simd>(_: S, block: &[u8; 2], [out]: &mut [f32; 1]) {
        *out = bf16(*block);
    }
}

/// A number in half precision.
#[inline(always)]
pub(crate) fn f16(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits & 0x8000) << 16;
    // Exponent and fraction as an `f32` of too low an exponent. The product is exact, also for
    // numbers that are subnormal in half precision.
    let value = f32::from_bits((bits & 0x7FFF) << 13) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(value.to_bits() | special | sign)
}

/// A number in the upper half of an `f32`.
#[inline(always)]
fn bf16(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// The number in half precision at a byte.
#[inline(always)]
fn half_at<S: Simd, const N: usize>(s: S, block: &[u8; N], at: usize) -> f32 {
    s.widen_half(u16::from_le_bytes(*part(block, at)))
}

/// The two numbers in half precision from a byte on.
#[inline(always)]
fn halves_at<S: Simd, const N: usize>(s: S, block: &[u8; N], at: usize) -> [f32; 2] {
    let half = |at| u16::from_le_bytes(*part(block, at));
    s.widen_half_pair([half(at), half(at + 2)])
}

/// `scale * (q - bias)`.
#[inline(always)]
fn centred<S: Simd>(s: S, scale: f32, bias: f32, q: Bytes, out: &mut [f32; LANES]) {
    let q = s.sub(s.widen_bytes(q.0), s.splat(bias));
    s.store(out, s.mul(s.splat(scale), q));
}

/// `scale * q + minimum`, rounded twice.
#[inline(always)]
fn affine<S: Simd>(s: S, scale: f32, minimum: f32, q: Bytes, out: &mut [f32; LANES]) {
    let product = s.mul(s.splat(scale), s.widen_bytes(q.0));
    s.store(out, s.add(product, s.splat(minimum)));
}

/// Sixteen bytes, eight in a word.
#[derive(Clone, Copy)]
struct Bytes([u64; 2]);

impl Bytes {
    #[inline(always)]
    fn new(bytes: &[u8; LANES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        Self([u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])])
    }

    /// One bit a byte, the first byte's the lowest.
    #[inline(always)]
    fn of_bits([a, b]: [u8; 2]) -> Self {
        // Byte i keeps bit i, and then is 1 where it is not 0.
        let own = Self([u64::from(a) * EACH, u64::from(b) * EACH]);
        let Self([a, b]) = own.and(0x8040_2010_0804_0201);
        Self([a + EACH * 0x7F, b + EACH * 0x7F]).bits(7, 1)
    }

    /// Of every byte the bits of `mask` after a shift to the right.
    #[inline(always)]
    fn bits(self, shift: usize, mask: u8) -> Self {
        let Self([a, b]) = self;
        Self([a >> shift, b >> shift]).and(EACH * u64::from(mask))
    }

    #[inline(always)]
    fn and(self, mask: u64) -> Self {
        let Self([a, b]) = self;
        Self([a & mask, b & mask])
    }

    /// With the bits of another above, which has none beyond a byte then.
    #[inline(always)]
    fn with_above(self, Self([c, d]): Self, shift: usize) -> Self {
        let Self([a, b]) = self;
        Self([a | c << shift, b | d << shift])
    }

    /// Every byte with its highest bit changed: a signed number plus 128.
    #[inline(always)]
    fn unsigned(self) -> Self {
        let Self([a, b]) = self;
        Self([a ^ (EACH * 0x80), b ^ (EACH * 0x80)])
    }
}

/// The lower halves of 16 bytes, then their upper halves.
#[inline(always)]
fn nibbles(bytes: &[u8; 16]) -> [Bytes; 2] {
    let bytes = Bytes::new(bytes);
    [bytes.bits(0, 0xF), bytes.bits(4, 0xF)]
}

/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;

/// Part of an array.
#[inline(always)]
fn part<T, const N: usize, const M: usize>(whole: &[T; N], at: usize) -> &[T; M] {
    whole[at..at + M].as_array().expect("the part is as long as asked for")
}

/// [`part`] to write.
#[inline(always)]
fn part_mut<T, const N: usize, const M: usize>(whole: &mut [T; N], at: usize) -> &mut [T; M] {
    whole[at..at + M].as_mut_array().expect("the part is as long as asked for")
}
