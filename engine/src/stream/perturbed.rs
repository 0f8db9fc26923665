//! Weights as a transform changes them, in scratch memory.

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::sync::{Mutex, PoisonError};

use candle::{DType, Device, Tensor};

use super::{Arena, Share, Transform, in_place};
use crate::backend::Backend;
use crate::backend::cpu::{Lent, values};
use crate::weights::{BlockWeights, Spec, Value, Version, Weights};
use crate::{Error, Policy, Result};
use kernels::logits::CHUNK;

/// What changes the trainable parameters of a policy on their way to its passes
/// ([`Policy::with_perturbed`]).
///
/// The weights themselves are only read. Of the embedding only the rows of a pass's tokens are
/// changed, of the head a chunk of the vocabulary at a time; where the two are tied, both are the
/// same parameter. On a CPU the changed block lies in scratch memory; the reference backend
/// computes in `f32` on the host and allocates.
#[derive(Debug)]
pub struct Perturbed<'a> {
    transform: &'a dyn Transform,
    scratch: &'a Scratch,
    version: Version,
}

impl<'a> Perturbed<'a> {
    /// Several may share scratch memory.
    pub fn new(transform: &'a dyn Transform, scratch: &'a Scratch) -> Self {
        Self { transform, scratch, version: Version::unique() }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether the scratch memory was made for the parameters of this policy.
    pub(crate) fn fits(&self, policy: &Policy<'_>) -> Result<()> {
        if Sizes::of(policy)? == self.scratch.sizes {
            return Ok(());
        }
        Err(Error::Input(
            "the scratch memory was made for other trainable parameters: make it for this policy"
                .into(),
        ))
    }

    /// A block with its trainable parameters changed; `places` are theirs.
    pub(crate) fn block<'b>(
        &self,
        places: &BlockWeights<Option<usize>>,
        block: Cow<'b, BlockWeights<Value>>,
    ) -> Result<Lease<'b>>
    where
        'a: 'b,
    {
        let mut any = false;
        places.visit(|place| any |= place.is_some());
        if !any {
            return Ok(block.into());
        }
        let Some(at) = &self.scratch.block else {
            let changed = (*block).as_ref().zip(places.as_ref())?.try_map(|(value, place)| {
                let (Some(index), Value::Tensor(tensor)) = (place, value) else {
                    return Ok::<_, Error>(value.clone());
                };
                Ok(Value::Tensor(self.tensor(*index, tensor)?))
            });
            return Ok(Lease { weights: Cow::Owned(changed?), room: None });
        };
        let parts = (*block).as_ref().zip(places.as_ref())?.zip(at.as_ref())?;
        let room = self.scratch.take()?;
        in_place::write(&room.values, |to| {
            let BlockWeights { .. } = parts.clone().try_map(|((value, place), at)| {
                let (Some(index), Some(at)) = (place, at) else { return Ok(()) };
                let lent = Lent::new(value);
                let from = lent.values()?;
                self.transform.apply(*index, 0, from, &mut to[at.clone()]);
                Ok::<_, Error>(())
            })?;
            Ok(())
        })?;
        let changed = parts.try_map(|((value, place), at)| {
            let (Some(_), Some(at)) = (place, at) else { return Ok(value.clone()) };
            let part = room.values.narrow(0, at.start, at.len())?.reshape(value.dims())?;
            Ok::<_, Error>(Value::Tensor(part))
        })?;
        Ok(Lease { weights: Cow::Owned(changed), room: Some((room, self.scratch)) })
    }

    /// A parameter, changed, as a new tensor.
    pub(crate) fn tensor(&self, parameter: usize, tensor: &Tensor) -> Result<Tensor> {
        self.tensor_from(parameter, 0, tensor)
    }

    /// The elements of a parameter from `first` on, changed, as a new tensor.
    pub(crate) fn tensor_from(
        &self,
        parameter: usize,
        first: usize,
        tensor: &Tensor,
    ) -> Result<Tensor> {
        changed(tensor, |from, to| self.transform.apply(parameter, first, from, to))
    }

    /// Rows of the embedding, changed, as a new tensor: those of `tokens`.
    ///
    /// Shapes: `rows` (tokens, width); result the same.
    pub(crate) fn rows(&self, parameter: usize, tokens: &[u32], rows: &Tensor) -> Result<Tensor> {
        changed(rows, |from, to| self.transform.apply_rows(parameter, tokens, from, to))
    }

    /// Lends the elements of a parameter from `first` on, changed, to `f`.
    pub(crate) fn with_values<R>(
        &self,
        parameter: usize,
        first: usize,
        from: &[f32],
        f: impl FnOnce(&[f32]) -> Result<R>,
    ) -> Result<R> {
        let room = self.scratch.take()?;
        in_place::write(&room.values, |to| {
            self.transform.apply(parameter, first, from, &mut to[..from.len()]);
            Ok(())
        })?;
        let result = {
            let lent = room.values.storage_and_layout();
            f(&values(&lent)?[..from.len()])
        };
        self.scratch.give(room);
        result
    }
}

/// A new tensor of what `f` makes of the values.
fn changed(tensor: &Tensor, f: impl FnOnce(&[f32], &mut [f32])) -> Result<Tensor> {
    let from: Vec<f32> = tensor.detach().flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    let mut to = vec![0.0; from.len()];
    f(&from, &mut to);
    let to = Tensor::from_vec(to, tensor.shape(), &Device::Cpu)?;
    Ok(to.to_dtype(tensor.dtype())?.to_device(tensor.device())?)
}

/// Memory for one changed block, or one changed chunk of the head, made before the first pass.
/// Where threads compute several passes at a time, each takes as much.
#[derive(Debug)]
pub struct Scratch {
    sizes: Sizes,
    /// Where each parameter of a block lies. `None` where the backend has no use for it.
    block: Option<BlockWeights<Option<Range<usize>>>>,
    floats: usize,
    free: Mutex<Vec<Room>>,
    arena: Arena,
}

/// The memory of one block.
#[derive(Debug)]
struct Room {
    values: Tensor,
    _share: Share,
}

/// The place of each weight among the trainable parameters, and its number of elements.
#[derive(Debug, PartialEq, Eq)]
struct Sizes(Vec<(Option<usize>, usize)>);

impl Sizes {
    fn of(policy: &Policy<'_>) -> Result<Self> {
        let (specs, places) = (policy.specs(), policy.trainable());
        let mut sizes = Vec::new();
        for (specs, places) in specs.blocks.iter().zip(&places.blocks) {
            let pairs = specs.as_ref().zip(places.as_ref())?;
            pairs.visit(|(spec, place)| sizes.push((**place, spec.elem_count())));
        }
        let ends = [
            (&specs.embed, Some(&places.embed)),
            (&specs.norm, Some(&places.norm)),
            (specs.head(), places.head.as_ref()),
        ];
        let place = |place: Option<&Option<usize>>| place.copied().flatten();
        sizes.extend(ends.map(|(spec, own)| (place(own), spec.elem_count())));
        Ok(Self(sizes))
    }
}

/// Parameters begin at multiples of this many elements: a line of the cache.
pub(super) const ALIGNED: usize = 16;

impl Scratch {
    /// Scratch memory for the trainable parameters of a policy.
    ///
    /// # Errors
    ///
    /// Fails with [`Error::Budget`] when it does not fit the arena.
    pub fn new(policy: &Policy<'_>, arena: &Arena) -> Result<Self> {
        let sizes = Sizes::of(policy)?;
        let (at, floats) = places(policy.specs(), policy.trainable());
        let block = matches!(policy.backend(), Backend::Cpu { .. }).then_some(at);
        let scratch = Self { sizes, block, floats, free: Mutex::default(), arena: arena.clone() };
        if scratch.block.is_some() {
            scratch.give(scratch.take()?);
        }
        Ok(scratch)
    }

    /// Bytes that it takes on a CPU, given for each weight its place among the trainable ones.
    pub(super) fn bytes(specs: &Weights<Spec>, trainable: &Weights<Option<usize>>) -> usize {
        super::terms::bytes_of(places(specs, trainable).1)
    }

    fn take(&self) -> Result<Room> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(room) = free {
            return Ok(room);
        }
        let share = self.arena.take(size_of::<f32>() * self.floats, "scratch memory of a block")?;
        let values = Tensor::zeros(self.floats, DType::F32, &Device::Cpu)?;
        Ok(Room { values, _share: share })
    }

    fn give(&self, room: Room) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }
}

/// Where the parameters of a block lie that are trained in any block, and the elements of all of
/// them or of a chunk of the head, whichever are more.
fn places(
    specs: &Weights<Spec>,
    places: &Weights<Option<usize>>,
) -> (BlockWeights<Option<Range<usize>>>, usize) {
    let mut trained = Vec::new();
    for block in &places.blocks {
        let mut i = 0;
        block.visit(|place| {
            if i == trained.len() {
                trained.push(false);
            }
            trained[i] |= place.is_some();
            i += 1;
        });
    }
    let (mut trained, mut end) = (trained.into_iter(), 0);
    let block = specs.blocks[0].as_ref().map(|spec| {
        trained.next().unwrap_or(false).then(|| {
            let start = end;
            end += spec.elem_count().next_multiple_of(ALIGNED);
            start..start + spec.elem_count()
        })
    });
    let head = specs.head();
    if places.head().is_some() {
        end = end.max(CHUNK.min(head.shape[0]) * head.shape[1]);
    }
    (block, end)
}

/// A block on its way to a pass. What was changed lies in scratch memory until this is dropped.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    weights: Cow<'a, BlockWeights<Value>>,
    room: Option<(Room, &'a Scratch)>,
}

impl<'a> From<Cow<'a, BlockWeights<Value>>> for Lease<'a> {
    fn from(weights: Cow<'a, BlockWeights<Value>>) -> Self {
        Self { weights, room: None }
    }
}

impl Deref for Lease<'_> {
    type Target = BlockWeights<Value>;

    fn deref(&self) -> &Self::Target {
        &self.weights
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some((room, scratch)) = self.room.take() {
            scratch.give(room);
        }
    }
}
