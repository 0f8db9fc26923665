//! The types that weights are written in.

use std::fmt;

use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use half::{bf16, f16};

/// A type that weights are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with 11 significant bits, up to 65,504.
    F16,
    /// 16-bit floats with 8 significant bits and the range of f32.
    Bf16,
    /// ggml's blocks of 32 whole numbers of 8 bits with a common scale in f16.
    Q8_0,
}

/// Values of a block.
const BLOCK: usize = 32;

/// The numbers of types in GGUF files that are read and not written, by their names.
const UNWRITTEN: [&str; 9] =
    ["q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"];

impl WeightType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Bf16, Self::Q8_0];

    /// As it is called in files and on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
        }
    }

    /// The type called `name`, in capitals or not.
    ///
    /// # Errors
    ///
    /// Names the ones there are. Of smaller blocks, it says why they are not written.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let lower = name.to_lowercase();
        if let Some(found) = Self::ALL.into_iter().find(|one| one.name() == lower) {
            return Ok(found);
        }
        let small = UNWRITTEN.iter().any(|small| lower.starts_with(small));
        Err(if small || lower.starts_with("iq") {
            format!(
                "weights are not written in {name}: what an adapter adds is usually smaller than \
                 half a step of such blocks, so that most of it would be lost in rounding\n\
                 ship the adapter beside the quantised base (peft or gguf-adapter), or write f16 \
                 and quantise that with llama.cpp's llama-quantize"
            )
        } else {
            format!("expected one of {}, got {name}", Self::ALL.map(Self::name).join(", "))
        })
    }

    /// The type of a tensor, where it is one that tensors have.
    pub(crate) fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::Bf16 => Some(DType::BF16),
            Self::Q8_0 => None,
        }
    }

    /// Its number in a GGUF file.
    ///
    /// Source: `enum ggml_type` in ggml.h.
    pub(crate) fn ggml_code(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 8,
            Self::Bf16 => 30,
        }
    }

    /// The value of `general.file_type` of a file whose matrices have it.
    ///
    /// Source: `enum llama_ftype` in llama.h.
    pub(crate) fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 7,
            Self::Bf16 => 32,
        }
    }

    /// The type of a matrix with rows of `width` values: blocks are of whole rows.
    pub(crate) fn of_width(self, width: usize) -> Self {
        if self == Self::Q8_0 && !width.is_multiple_of(BLOCK) { Self::F16 } else { self }
    }

    /// Size of `count` values, in bytes.
    pub(crate) fn bytes(self, count: usize) -> u64 {
        let count = count as u64;
        match self {
            Self::F32 => 4 * count,
            Self::F16 | Self::Bf16 => 2 * count,
            Self::Q8_0 => count / BLOCK as u64 * (2 + BLOCK as u64),
        }
    }

    /// The bytes of `values`; those of `Q8_0` are whole blocks.
    ///
    /// # Errors
    ///
    /// Says what is wrong with a value that is not finite, here or in this type.
    ///
    /// Source of `Q8_0`: `quantize_row_q8_0_ref` in ggml-quants.c.
    pub(crate) fn encode(self, values: &[f32]) -> Result<Vec<u8>, String> {
        if let Some(bad) = values.iter().find(|x| !x.is_finite()) {
            return Err(format!("holds {bad}, expected finite values"));
        }
        let largest = values.iter().fold(0f32, |most, x| most.max(x.abs()));
        // A scale is the largest value over 127.
        let bound = match self {
            Self::F32 => f32::MAX,
            Self::F16 => f16::MAX.to_f32(),
            Self::Bf16 => bf16::MAX.to_f32(),
            Self::Q8_0 => 127.0 * f16::MAX.to_f32(),
        };
        if largest > bound {
            return Err(format!(
                "holds a value of size {largest}, and {self} ends at {bound}: write another type"
            ));
        }
        Ok(match self {
            Self::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            Self::Q8_0 => blocks(values).map_err(|e| e.to_string())?,
        })
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn blocks(values: &[f32]) -> candle::Result<Vec<u8>> {
    let values = Tensor::from_slice(values, values.len(), &Device::Cpu)?;
    Ok(QTensor::quantize(&values, GgmlDType::Q8_0)?.data()?.into_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `testdata/lora/blocks.safetensors`: made by ggml itself.
    #[test]
    fn blocks_are_those_of_ggml_to_the_byte() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lora/blocks.safetensors");
        let all = candle::safetensors::load(path, &Device::Cpu).unwrap();
        let values: Vec<f32> = all["values"].flatten_all().unwrap().to_vec1().unwrap();
        let want: Vec<u8> = all["Q8_0.blocks"].flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(WeightType::Q8_0.encode(&values).unwrap(), want);
        assert_eq!(WeightType::Q8_0.bytes(values.len()), want.len() as u64);
        // Negative control: another type of blocks has other bytes.
        assert_ne!(all["Q4_0.blocks"].elem_count(), want.len());
    }

    #[test]
    fn a_block_has_the_scale_of_its_largest_value_and_rounds_halves_away_from_zero() {
        let mut values = [0f32; BLOCK];
        values[..5].copy_from_slice(&[127.0, 0.5, -0.5, 1.5, -63.49]);
        let bytes = WeightType::Q8_0.encode(&values).unwrap();
        assert_eq!(bytes[..2], f16::ONE.to_le_bytes());
        assert_eq!(bytes[2..8], [127, 1, 255, 2, 193, 0]);
        assert_eq!(WeightType::Q8_0.encode(&[0.0; BLOCK]).unwrap(), [0; BLOCK + 2]);
    }

    #[test]
    fn halves_are_rounded_to_the_nearest_even() {
        let (one, step) = (1.0f32, 2f32.powi(-10));
        for (value, want) in [
            (one + 0.5 * step, one),
            (one + 1.5 * step, one + 2.0 * step),
            (one + 0.51 * step, one + step),
            (-65_504.0, -65_504.0),
            (6.1e-5, 6.1e-5),
        ] {
            let bytes = WeightType::F16.encode(&[value]).unwrap();
            let got = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
            assert!((got - want).abs() <= 3e-8, "{value}: {got}, expected {want}");
        }
        let bytes = WeightType::Bf16.encode(&[1.0 + 2f32.powi(-8)]).unwrap();
        assert_eq!(bytes, bf16::ONE.to_le_bytes());
    }

    #[test]
    fn what_is_not_finite_is_refused_in_every_type() {
        for kind in WeightType::ALL {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = [1f32; BLOCK];
                values[7] = bad;
                let problem = kind.encode(&values).unwrap_err();
                assert!(problem.contains("expected finite"), "{problem}");
            }
        }
    }
}
