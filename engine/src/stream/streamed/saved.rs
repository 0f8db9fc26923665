//! Streamed weights on their way out: visited, as a model, as digests, sealed.

use candle::{DType, Device, Tensor};

use super::Streamed;
use super::resident::whole;
use crate::backend::cpu::values;
use crate::weights::{Spec, Value};
use crate::{Model, Result};
use kernels::digest::Digest;

impl Streamed {
    /// Calls `f` with every weight of the base as it is now, in checkpoint order.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`], with [`Error::Budget`](crate::Error::Budget) when a weight does not fit
    /// the arena ([`Terms::visited`](crate::stream::Terms::visited)), and when `f` fails.
    pub fn visit(&self, f: &mut dyn FnMut(&Spec, Value) -> Result<()>) -> Result<()> {
        let mut state = self.flushed()?;
        for region in self.master.table.regions() {
            for i in 0..region.tensors.len() {
                let place = &region.tensors[i];
                let _share = self.arena.take(place.bytes.len(), &place.spec.name)?;
                f(&place.spec, whole(region, i, &mut state.handle)?)?;
            }
        }
        Ok(())
    }

    /// The model with the base's weights as they are now, all in memory, which is the caller's from
    /// then on.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`], with [`Error::Budget`](crate::Error::Budget) when the arena has no room
    /// for all weights, and as [`Model::of_values`].
    pub fn model(&self) -> Result<Model> {
        let mut state = self.flushed()?;
        let _share = self.arena.take(self.master.bytes(), "all weights in memory")?;
        let regions = self.master.table.regions();
        let mut all =
            regions.flat_map(|region| (0..region.tensors.len()).map(move |i| (region, i)));
        let mut get = |_: &str, _: &[usize]| {
            let (region, i) = all.next().expect("the same weights in the same order");
            whole(region, i, &mut state.handle)
        };
        Model::of_values(self.master.config.clone(), &mut get, DType::F32, &Device::Cpu)
    }

    /// SHA-256 of the base's weights as they are now, in checkpoint order, in hexadecimal digits.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`].
    pub fn digest(&self) -> Result<String> {
        let mut state = self.flushed()?;
        self.master.digest(&mut state.handle)
    }

    /// The digest of each trainable parameter as it is now, in the order of [`Self::trainable`];
    /// `number` gives the number of a tensor by its name ([`Digest`]).
    ///
    /// # Errors
    ///
    /// As [`Self::flush`].
    pub fn digests(&self, number: &dyn Fn(&str) -> u32) -> Result<Vec<String>> {
        if let Some(adapter) = &self.adapter {
            let parameters = adapter.parameters().into_iter();
            let digest = |(name, tensor): (&str, &Tensor)| {
                let mut digest = Digest::new(number(name), tensor.dims());
                let lent = tensor.storage_and_layout();
                digest.update(values(&lent)?);
                Ok(digest.finish())
            };
            return parameters.map(digest).collect();
        }
        let (mut state, mut digests) = (self.flushed()?, Vec::new());
        let mut trained = Vec::new();
        self.trainable.visit(|place| trained.push(place.is_some()));
        let regions = self.master.table.regions();
        let places = regions.flat_map(|region| region.tensors.iter().map(move |own| (region, own)));
        for ((region, place), _) in places.zip(trained).filter(|(_, trained)| *trained) {
            let mut digest = Digest::new(number(&place.spec.name), &place.spec.shape);
            let mut add = |_: usize, bytes: &[u8]| digest.update_bytes(bytes);
            state.handle.read(region, place.bytes.clone(), &mut add)?;
            digests.push(digest.finish());
        }
        Ok(digests)
    }

    /// Writes all weights back, and marks a file as complete.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`].
    pub fn seal(self) -> Result<()> {
        let mut state = self.flushed()?;
        state.handle.sync()?;
        self.master.seal(&mut state.handle)
    }
}
