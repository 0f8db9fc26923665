//! Rotary angles by position.

use candle::{DType, Device, Tensor};

use crate::{ModelConfig, Result, RopeScaling};

/// The rotary frequencies of a model.
#[derive(Debug, Clone)]
pub struct Rope {
    inverse_frequencies: Vec<f64>,
}

impl Rope {
    /// Frequencies `theta^(-2i/d)`, stretched as the configuration says.
    ///
    /// Source: arXiv 2104.09864, section 3.2.2; Llama 3's ramp as in Hugging Face transformers,
    /// `_compute_llama3_parameters`.
    pub fn new(config: &ModelConfig) -> Self {
        let width = config.head_dim as f64;
        let inverse_frequencies = (0..config.head_dim / 2)
            .map(|i| config.rope_theta.powf(-2.0 * i as f64 / width))
            .map(|frequency| stretch(frequency, config.rope_scaling))
            .collect();
        Self { inverse_frequencies }
    }

    /// Radians a position, (head width / 2).
    pub fn inverse_frequencies(&self) -> &[f64] {
        &self.inverse_frequencies
    }

    /// Cosines and sines of every position's angles, each (positions, head width / 2).
    pub fn angles(&self, positions: impl Iterator<Item = usize>) -> [Vec<f64>; 2] {
        let of_position = |position: usize| {
            self.inverse_frequencies.iter().map(move |frequency| position as f64 * frequency)
        };
        let (cos, sin) =
            positions.flat_map(of_position).map(|angle| (angle.cos(), angle.sin())).unzip();
        [cos, sin]
    }

    /// [`Self::angles`] as tensors.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses the tensors.
    pub fn tables(
        &self,
        positions: &[u32],
        dtype: DType,
        device: &Device,
    ) -> Result<(Tensor, Tensor)> {
        let shape = (positions.len(), self.inverse_frequencies.len());
        let [cos, sin] = self.angles(positions.iter().map(|&position| position as usize));
        let table = |values: Vec<f64>| -> Result<Tensor> {
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
        };
        Ok((table(cos)?, table(sin)?))
    }
}

fn stretch(frequency: f64, scaling: RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
            let turns = original_context as f64 * frequency / std::f64::consts::TAU;
            if turns < low_freq_factor {
                frequency / factor
            } else if turns > high_freq_factor {
                frequency
            } else {
                let kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}
