//! The decoders of GGUF blocks against ggml's own values and against Candle's.

use std::path::Path;

use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use kernels::blocks::{Format, decode};

use crate::support::draws;

const TYPES: [(&str, Format, GgmlDType); 10] = [
    ("Q4_0", Format::Q4_0, GgmlDType::Q4_0),
    ("Q4_1", Format::Q4_1, GgmlDType::Q4_1),
    ("Q5_0", Format::Q5_0, GgmlDType::Q5_0),
    ("Q5_1", Format::Q5_1, GgmlDType::Q5_1),
    ("Q8_0", Format::Q8_0, GgmlDType::Q8_0),
    ("Q2_K", Format::Q2K, GgmlDType::Q2K),
    ("Q3_K", Format::Q3K, GgmlDType::Q3K),
    ("Q4_K", Format::Q4K, GgmlDType::Q4K),
    ("Q5_K", Format::Q5K, GgmlDType::Q5K),
    ("Q6_K", Format::Q6K, GgmlDType::Q6K),
];

fn decoded(format: Format, bytes: &[u8]) -> Vec<u32> {
    let (block, size) = format.block();
    let mut out = vec![0.0; bytes.len() / size * block];
    decode(format, bytes, &mut out);
    out.into_iter().map(f32::to_bits).collect()
}

fn bits(x: &Tensor) -> Vec<u32> {
    let values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn blocks_of_ggml_decode_to_its_values_to_the_bit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lora/blocks.safetensors");
    let tensors = candle::safetensors::load(path, &Device::Cpu).unwrap();
    for (name, format, _) in TYPES {
        let blocks = &tensors[&format!("{name}.blocks")];
        let bytes = blocks.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        assert_eq!(decoded(format, &bytes), bits(&tensors[&format!("{name}.values")]), "{name}");
    }
}

#[test]
fn quantised_tensors_decode_to_candles_values_to_the_bit() {
    let mut draw = draws(3);
    let values: Vec<f32> = (0..16 * 512).map(|_| (draw() * 3.0) as f32).collect();
    let x = Tensor::from_vec(values, (16, 512), &Device::Cpu).unwrap();
    for (name, format, kind) in TYPES {
        let stored = QTensor::quantize(&x, kind).unwrap();
        let want = stored.dequantize(&Device::Cpu).unwrap();
        assert_eq!(decoded(format, &stored.data().unwrap()), bits(&want), "{name}");
    }
    for (format, dtype) in [(Format::F16, DType::F16), (Format::Bf16, DType::BF16)] {
        let mut bytes = Vec::new();
        x.to_dtype(dtype).unwrap().write_bytes(&mut bytes).unwrap();
        let want = x.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(decoded(format, &bytes), bits(&want), "{dtype:?}");
    }
}
