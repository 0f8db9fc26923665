//! Rounding to bf16, the same in every form.

/// The nearest bf16, ties to even. Subnormal numbers become zero of their sign, as the instructions
/// VCVTNE2PS2BF16 and TDPBF16PS have it; a NaN stays one and is quiet.
///
/// bf16 has the exponents of `f32`, so no other number becomes subnormal.
#[inline(always)]
pub(super) fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    let high = bits >> 16;
    let nearest = bits.wrapping_add(0x7FFF + (high & 1)) >> 16;
    let magnitude = bits & 0x7FFF_FFFF;
    let rounded = if magnitude > 0x7F80_0000 { high | 0x40 } else { nearest };
    (if magnitude < 0x0080_0000 { high & 0x8000 } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use super::super::emulate::widen;
    use super::*;
    use crate::testing::noise;

    #[test]
    fn rounding_is_that_of_the_half_crate_but_for_subnormals() {
        let ties = [1.003_906_3, 1.011_718_8, -1.003_906_3];
        let ends = [0.0, -0.0, 3e38, f32::MAX, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE];
        for x in noise(5, 4096).into_iter().chain(ties).chain(ends) {
            assert_eq!(round(x), half::bf16::from_f32(x).to_bits(), "{x}");
        }
        for x in [f32::NAN, -f32::NAN, f32::from_bits(0x7F80_0001), f32::from_bits(0xFFFF_FFFF)] {
            assert!(widen(round(x)).is_nan(), "{x}");
        }
    }

    #[test]
    fn subnormals_become_zero_of_their_sign() {
        for bits in [1, 0x0000_8000, 0x007F_0000, 0x007F_FFFF] {
            assert_eq!(round(f32::from_bits(bits)), 0, "{bits:#x}");
            assert_eq!(round(f32::from_bits(bits | 1 << 31)), 0x8000, "-{bits:#x}");
        }
        assert_eq!(round(f32::from_bits(0x0080_0000)), 0x0080);
    }
}
