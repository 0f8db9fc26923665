//! A perturbation and an update with signs as noise, and models that hold what they make.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use candle::{DType, Device, Tensor};
use engine::stream::Transform;
use engine::{Model, WeightSource};

/// A random word for an element: a function of its place alone.
fn word(seed: u64, parameter: usize, element: usize) -> u64 {
    let mut z = seed ^ (parameter as u64) << 48 ^ element as u64;
    for _ in 0..2 {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    z
}

/// Adds `scale` or `-scale` to each element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signs {
    pub(crate) seed: u64,
    pub(crate) scale: f32,
}

impl Signs {
    fn of(self, parameter: usize, element: usize, x: f32) -> f32 {
        if word(self.seed, parameter, element) & 1 == 0 { x + self.scale } else { x - self.scale }
    }
}

impl Transform for Signs {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        for (i, (from, to)) in from.iter().zip(to).enumerate() {
            *to = self.of(parameter, first + i, *from);
        }
    }
}

/// What an update does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mistake {
    None,
    /// It takes every parameter for its neighbour.
    Neighbour,
}

/// `w (1 - decay) + coefficient z`, with a decay first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    pub(crate) signs: Signs,
    pub(crate) keep: f32,
    pub(crate) mistake: Mistake,
    /// How long each call takes besides.
    pub(crate) delay: Duration,
}

impl Transform for Update {
    fn apply(&self, parameter: usize, first: usize, from: &[f32], to: &mut [f32]) {
        std::thread::sleep(self.delay);
        let parameter = parameter ^ usize::from(self.mistake == Mistake::Neighbour);
        for (i, (from, to)) in from.iter().zip(to).enumerate() {
            *to = self.signs.of(parameter, first + i, from * self.keep);
        }
    }
}

/// Applies a transform to a model's trainable parameters.
pub(crate) fn apply(model: &Model, transform: &dyn Transform) {
    model.update(|variables| {
        for (index, (parameter, variable)) in variables.trainable().enumerate() {
            let from = numbers(&parameter.tensor);
            let mut to = vec![0.0; from.len()];
            // In uneven parts: the cuts change nothing.
            let cut = from.len() / 3;
            transform.apply(index, 0, &from[..cut], &mut to[..cut]);
            transform.apply(index, cut, &from[cut..], &mut to[cut..]);
            let to = Tensor::from_vec(to, parameter.tensor.shape(), &Device::Cpu).unwrap();
            variable.set(&to.to_dtype(parameter.tensor.dtype()).unwrap()).unwrap();
        }
    });
}

pub(crate) fn numbers(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F32).unwrap();
    tensor.to_vec1().unwrap()
}

/// The bits of all parameters.
pub(crate) fn bits(model: &Model) -> Vec<Vec<u32>> {
    let bits = |x: &engine::Parameter| numbers(&x.tensor).iter().map(|x| x.to_bits()).collect();
    model.parameters().iter().map(bits).collect()
}

/// A model's weights, counting how often a block is asked for.
#[derive(Debug)]
pub(crate) struct Counted<'a>(pub(crate) &'a Model, pub(crate) AtomicUsize);

impl WeightSource for Counted<'_> {
    fn version(&self) -> engine::Version {
        self.0.version()
    }

    fn embed(&self) -> engine::Result<engine::Value> {
        self.0.embed()
    }

    fn block(
        &self,
        layer: usize,
    ) -> engine::Result<std::borrow::Cow<'_, engine::BlockWeights<engine::Value>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.block(layer)
    }

    fn norm(&self) -> engine::Result<Tensor> {
        self.0.norm()
    }

    fn head(&self) -> engine::Result<engine::Value> {
        self.0.head()
    }
}
