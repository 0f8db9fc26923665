//! The weights that stay in memory, and single tensors of a master.

use std::sync::Arc;

use candle::{Device, Tensor};

use crate::backend::cpu::values;
use crate::stream::in_place;
use crate::stream::master::{Handle, Master};
use crate::stream::table::Region;
use crate::stream::transform::Transform;
use crate::weights::{StoredMatrix, Value, Weights};
use crate::{Error, Result};
use kernels::blocks::Format;

/// What is not streamed.
#[derive(Debug)]
pub(super) struct Resident {
    pub(super) norm: Tensor,
    /// Embedding, and head where it is not tied. `None` where they are streamed.
    pub(super) ends: Option<(Value, Option<Value>)>,
}

impl Resident {
    pub(super) fn read(master: &Master, streams_ends: bool, handle: &mut Handle) -> Result<Self> {
        let table = &master.table;
        let Value::Tensor(norm) = whole(&table.norm, 0, handle)? else {
            return Err(Error::Input("the final norm is in f32".into()));
        };
        if streams_ends {
            return Ok(Self { norm, ends: None });
        }
        let embed = whole(&table.embed, 0, handle)?;
        let head = table.head.as_ref().map(|head| whole(head, 0, handle)).transpose()?;
        Ok(Self { norm, ends: Some((embed, head)) })
    }

    /// The tensors, each with its region and its place.
    fn tensors<'s, T>(&'s self, of: &'s Weights<T>) -> Vec<(&'s Tensor, &'s T)> {
        let mut all = vec![(&self.norm, &of.norm)];
        if let Some((embed, head)) = &self.ends {
            let ends = [(Some(embed), Some(&of.embed)), (head.as_ref(), of.head.as_ref())];
            all.extend(ends.into_iter().filter_map(|(value, of)| match (value?, of?) {
                (Value::Tensor(tensor), of) => Some((tensor, of)),
                (Value::Stored(_), _) => None,
            }));
        }
        all
    }

    pub(super) fn update(
        &self,
        places: &Weights<Option<usize>>,
        update: &dyn Transform,
    ) -> Result<()> {
        for (tensor, place) in self.tensors(places) {
            let Some(index) = *place else { continue };
            in_place::write(tensor, |to| {
                update.apply_in_place(index, 0, to);
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn write(&self, master: &Master, handle: &mut Handle) -> Result<()> {
        let table = &master.table;
        let mut regions = vec![(&self.norm, &table.norm)];
        if let Some((Value::Tensor(embed), head)) = &self.ends {
            regions.push((embed, &table.embed));
            if let (Some(Value::Tensor(head)), Some(region)) = (head, &table.head) {
                regions.push((head, region));
            }
        }
        for (tensor, region) in regions {
            let lent = tensor.storage_and_layout();
            handle.write_f32(region, 0, values(&lent)?)?;
        }
        Ok(())
    }
}

/// A tensor of a region, in the format that it is kept in.
pub(super) fn whole(region: &Region, i: usize, handle: &mut Handle) -> Result<Value> {
    let place = &region.tensors[i];
    if place.format == Format::F32 {
        let mut values = vec![0.0; place.spec.elem_count()];
        handle.read_f32(region, place.bytes.start, &mut values)?;
        return Ok(Tensor::from_vec(values, place.spec.shape.as_slice(), &Device::Cpu)?.into());
    }
    let mut bytes = vec![0; place.bytes.len()];
    handle.read(region, place.bytes.clone(), &mut |at, piece| {
        bytes[at..][..piece.len()].copy_from_slice(piece);
    })?;
    Ok(StoredMatrix::shared(place.format, place.matrix(), Arc::new(bytes)).into())
}
