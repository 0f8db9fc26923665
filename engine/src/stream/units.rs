//! What moves through a slot at a time: a block, or a chunk of rows of the embedding or the head.

use std::ops::Range;
use std::sync::Arc;

use candle::Tensor;

use super::in_place;
use super::master::Handle;
use super::perturbed::ALIGNED;
use super::table::{Place, Region, Table};
use crate::weights::{StoredMatrix, Value};
use crate::{Error, Result};
use kernels::blocks::Format;
use kernels::linear::BlockMatrix;
use kernels::logits::CHUNK;
use kernels::threads::Threads;

/// The memory that a unit is moved to.
#[derive(Debug)]
pub(super) struct Slot {
    /// Numbers: one dimension.
    pub(super) floats: Tensor,
    /// Matrices in the format of a file, one buffer for each of a block.
    pub(super) bytes: Vec<Arc<Vec<u8>>>,
}

/// A block, or a chunk of rows.
#[derive(Debug)]
pub(super) struct Unit {
    region: Region,
    parts: Vec<Part>,
    /// First byte in the region, where a slot holds the same bytes.
    same: Option<usize>,
    /// Numbers in a slot.
    floats: usize,
}

/// A tensor of a unit, or some of its rows.
#[derive(Debug)]
struct Part {
    place: Place,
    rows: Range<usize>,
    to: To,
}

/// Where a part lies in a slot.
#[derive(Debug)]
enum To {
    Floats(Range<usize>),
    Bytes(usize),
}

/// What slots must hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SlotSize {
    pub(super) floats: usize,
    /// Bytes of all buffers, and of what is decoded.
    pub(super) stored: usize,
    pub(super) decoded: usize,
}

/// The units of a master: the blocks, and with `ends` the chunks of the head, then those of an
/// embedding that is not tied. Blocks are decoded unless they are kept `as_stored`.
pub(super) fn units(table: &Table, ends: bool, as_stored: bool) -> Vec<Unit> {
    let blocks = table.blocks.iter().map(|region| Unit::block(region, as_stored));
    let mut units: Vec<Unit> = blocks.collect();
    if ends {
        units.extend(chunks(table.head()));
        if table.head.is_some() {
            units.extend(chunks(&table.embed));
        }
    }
    units
}

fn chunks(region: &Region) -> impl Iterator<Item = Unit> {
    let rows = region.tensors[0].matrix()[0];
    let starts = (0..rows).step_by(CHUNK);
    starts.map(move |start| Unit::chunk(region, start..rows.min(start + CHUNK)))
}

impl Unit {
    fn block(region: &Region, as_stored: bool) -> Self {
        let same = region.is_f32();
        let (mut floats, mut buffers) = (0, 0);
        let parts = region.tensors.iter().map(|place| {
            let to = if as_stored && place.format != Format::F32 {
                buffers += 1;
                To::Bytes(buffers - 1)
            } else {
                let first = if same { place.bytes.start / size_of::<f32>() } else { floats };
                let end = first + place.spec.elem_count();
                floats = end.next_multiple_of(ALIGNED);
                To::Floats(first..end)
            };
            Part { place: place.clone(), rows: 0..place.matrix()[0], to }
        });
        let parts = parts.collect();
        if same {
            floats = region.len / size_of::<f32>();
        }
        Self { region: region.clone(), parts, same: same.then_some(0), floats }
    }

    fn chunk(region: &Region, rows: Range<usize>) -> Self {
        let place = region.tensors[0].clone();
        let [_, width] = place.matrix();
        let floats = rows.len() * width;
        let same = region.is_f32().then(|| rows.start * width * size_of::<f32>());
        let part = Part { place, rows, to: To::Floats(0..floats) };
        Self { region: region.clone(), parts: vec![part], same, floats }
    }

    /// Rows, where it is a chunk.
    pub(super) fn rows(&self) -> Range<usize> {
        self.parts[0].rows.clone()
    }

    /// Bytes that are moved.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes().len()).sum()
    }

    /// Reads it into a slot. `decoded` is scratch.
    pub(super) fn fill(
        &self,
        handle: &mut Handle,
        slot: &mut Slot,
        decoded: &mut Vec<u8>,
    ) -> Result<()> {
        let Slot { floats, bytes } = slot;
        in_place::write(floats, |floats| {
            if let Some(first) = self.same {
                return handle.read_f32(&self.region, first, &mut floats[..self.floats]);
            }
            for part in &self.parts {
                match &part.to {
                    To::Floats(to) => {
                        part.read(&self.region, handle, &mut floats[to.clone()], decoded)?;
                    }
                    To::Bytes(i) => {
                        let to = Arc::make_mut(&mut bytes[*i]);
                        part.read_bytes(&self.region, handle, to)?;
                    }
                }
            }
            Ok(())
        })
    }

    /// Writes a slot back. Only a unit in `f32` is ever changed.
    pub(super) fn write_back(&self, handle: &mut Handle, slot: &Slot) -> Result<()> {
        let first = self.same.ok_or_else(|| {
            Error::Input(
                "weights in the format of a file are frozen: they cannot be updated".into(),
            )
        })?;
        let lent = slot.floats.storage_and_layout();
        let floats = &crate::backend::cpu::values(&lent)?[..self.floats];
        handle.write_f32(&self.region, first, floats)
    }

    /// The values of its parts in a slot, which they share.
    pub(super) fn values(&self, slot: &Slot) -> Result<Vec<Value>> {
        let value = |part: &Part| {
            let [_, width] = part.place.matrix();
            match &part.to {
                To::Floats(at) => {
                    let values = slot.floats.narrow(0, at.start, at.len())?;
                    Ok(match part.place.spec.shape.len() {
                        2 => values.reshape((part.rows.len(), width))?.into(),
                        _ => values.into(),
                    })
                }
                To::Bytes(i) => {
                    let (format, shape) = (part.place.format, part.place.matrix());
                    Ok(StoredMatrix::shared(format, shape, slot.bytes[*i].clone()).into())
                }
            }
        };
        self.parts.iter().map(value).collect()
    }

    /// Calls `f` with the place of each part, its first element, counted in its tensor, and its
    /// numbers in a slot.
    pub(super) fn each(
        &self,
        slot: &Slot,
        mut f: impl FnMut(usize, usize, &mut [f32]),
    ) -> Result<()> {
        in_place::write(&slot.floats, |floats| {
            for (i, part) in self.parts.iter().enumerate() {
                if let To::Floats(at) = &part.to {
                    f(i, part.rows.start * part.place.matrix()[1], &mut floats[at.clone()]);
                }
            }
            Ok(())
        })
    }
}

impl Part {
    /// Its bytes in the region.
    fn bytes(&self) -> Range<usize> {
        let [rows, _] = self.place.matrix();
        let row = self.place.bytes.len() / rows;
        let start = self.place.bytes.start;
        start + self.rows.start * row..start + self.rows.end * row
    }

    fn read(
        &self,
        region: &Region,
        handle: &mut Handle,
        to: &mut [f32],
        decoded: &mut Vec<u8>,
    ) -> Result<()> {
        if self.place.format == Format::F32 {
            return handle.read_f32(region, self.bytes().start, to);
        }
        self.read_bytes(region, handle, decoded)?;
        let [_, width] = self.place.matrix();
        let matrix = BlockMatrix::new(self.place.format, decoded, self.rows.len(), width);
        // On the reader's thread: those of the pool compute.
        matrix.decode_rows(Threads::One, 0..self.rows.len(), to);
        Ok(())
    }

    fn read_bytes(&self, region: &Region, handle: &mut Handle, to: &mut Vec<u8>) -> Result<()> {
        let bytes = self.bytes();
        to.resize(bytes.len(), 0);
        handle.read(region, bytes, &mut |at, piece| to[at..][..piece.len()].copy_from_slice(piece))
    }
}

/// Rows of a matrix of a region, decoded: those of `tokens`. Returns how many bytes were read.
///
/// Shapes: `to` (tokens, width).
pub(super) fn gather(
    region: &Region,
    handle: &mut Handle,
    tokens: &[u32],
    to: &mut [f32],
) -> Result<usize> {
    let place = &region.tensors[0];
    let [rows, width] = place.matrix();
    let (mut scratch, mut bytes) = (Vec::new(), 0);
    for (&token, to) in tokens.iter().zip(to.chunks_exact_mut(width)) {
        let row = token as usize;
        if row >= rows {
            return Err(Error::Input(format!(
                "token {token} is outside the vocabulary of {rows} tokens"
            )));
        }
        let part = Part { place: place.clone(), rows: row..row + 1, to: To::Floats(0..width) };
        part.read(region, handle, to, &mut scratch)?;
        bytes += part.bytes().len();
    }
    Ok(bytes)
}

/// What a slot must hold, so that each of the units fits.
pub(super) fn slot_size(units: &[Unit]) -> (SlotSize, Vec<usize>) {
    let (mut size, mut buffers) = (SlotSize::default(), Vec::<usize>::new());
    for unit in units {
        size.floats = size.floats.max(unit.floats);
        for part in &unit.parts {
            match part.to {
                To::Floats(_) if part.place.format == Format::F32 => {}
                To::Floats(_) => size.decoded = size.decoded.max(part.bytes().len()),
                To::Bytes(i) => {
                    buffers.resize(buffers.len().max(i + 1), 0);
                    buffers[i] = buffers[i].max(part.bytes().len());
                }
            }
        }
    }
    size.stored = buffers.iter().sum();
    (size, buffers)
}
