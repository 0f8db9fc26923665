//! Where every tensor of a master lies.

use std::ops::Range;

use crate::weights::{Spec, Weights};
use crate::{Error, Result};
use kernels::blocks::Format;

/// Regions and slices begin at multiples of this many bytes: what direct reads of a disk ask for.
pub(super) const PAGE: usize = 4096;

/// Tensors of a region begin at multiples of this many bytes: a line of the cache.
const LINE: usize = 64;

/// Bytes of the master that are contiguous and begin at a page: the tensors of a block, or one of
/// the tensors outside the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    /// First byte, from the beginning of the master.
    pub(super) start: usize,
    /// Bytes without what fills the last page.
    pub(super) len: usize,
    /// In the order of the parameters.
    pub(super) tensors: Vec<Place>,
}

/// A tensor of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) spec: Spec,
    pub(super) format: Format,
    /// Bytes, from the beginning of the region.
    pub(super) bytes: Range<usize>,
}

/// The regions of a master: the embedding, the blocks from the bottom, the final norm, and the head
/// where it is not tied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) embed: Region,
    pub(super) blocks: Vec<Region>,
    pub(super) norm: Region,
    pub(super) head: Option<Region>,
}

impl Place {
    /// Rows and width of a matrix; a vector is one row.
    pub(super) fn matrix(&self) -> [usize; 2] {
        match self.spec.shape[..] {
            [rows, width] => [rows, width],
            _ => [1, self.spec.elem_count()],
        }
    }
}

impl Region {
    /// Bytes with what fills the last page.
    pub(super) fn padded(&self) -> usize {
        self.len.next_multiple_of(PAGE)
    }

    /// Whether all tensors are in `f32`: then a slot holds the same bytes.
    pub(super) fn is_f32(&self) -> bool {
        self.tensors.iter().all(|place| place.format == Format::F32)
    }

    /// Adds a tensor, in the format that `place` returns, given its first byte from the beginning
    /// of the master.
    fn push(&mut self, spec: &Spec, place: PlaceTensor<'_>) -> Result<()> {
        let first = self.len.next_multiple_of(LINE);
        let format = place(spec, self.start + first)?;
        let mut place = Place { spec: spec.clone(), format, bytes: first..first };
        let [rows, width] = place.matrix();
        let Some(row) = format.bytes(width) else {
            return Err(Error::Weight {
                name: spec.name.clone(),
                problem: format!("rows of {width} are no whole blocks of {format:?}"),
            });
        };
        self.len = first + rows * row;
        place.bytes.end = self.len;
        self.tensors.push(place);
        Ok(())
    }
}

/// Puts a tensor at the byte given, and returns its format.
pub(super) type PlaceTensor<'a> = &'a mut dyn FnMut(&Spec, usize) -> Result<Format>;

impl Table {
    /// Lays out tensors from `start` on, which is at a page. `place` is asked in the order of the
    /// parameters.
    pub(super) fn new(start: usize, specs: &Weights<Spec>, place: PlaceTensor<'_>) -> Result<Self> {
        let mut next = start;
        let mut region = |specs: &[&Spec]| {
            let mut region = Region { start: next, len: 0, tensors: Vec::new() };
            specs.iter().try_for_each(|spec| region.push(spec, place))?;
            next += region.padded();
            Ok::<_, Error>(region)
        };
        let embed = region(&[&specs.embed])?;
        let blocks = specs.blocks.iter().map(|block| {
            let mut all = Vec::new();
            block.visit(|spec| all.push(spec));
            region(&all)
        });
        let blocks = blocks.collect::<Result<_>>()?;
        let norm = region(&[&specs.norm])?;
        let head = specs.head.as_ref().map(|head| region(&[head])).transpose()?;
        Ok(Self { embed, blocks, norm, head })
    }

    /// All in `f32`.
    pub(super) fn of_f32(specs: &Weights<Spec>) -> Result<Self> {
        Self::new(0, specs, &mut |_, _| Ok(Format::F32))
    }

    /// The region of the head: the embedding where it is tied.
    pub(super) fn head(&self) -> &Region {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// All regions, in the order of the parameters.
    pub(super) fn regions(&self) -> impl Iterator<Item = &Region> {
        let Self { embed, blocks, norm, head } = self;
        std::iter::once(embed).chain(blocks).chain([norm]).chain(head)
    }

    /// All tensors, each with its first byte from the beginning of the master.
    pub(super) fn tensors(&self) -> impl Iterator<Item = (usize, &Place)> {
        self.regions().flat_map(|region| {
            region.tensors.iter().map(|place| (region.start + place.bytes.start, place))
        })
    }

    /// Where the last region ends.
    pub(super) fn end(&self) -> usize {
        self.regions().map(|region| region.start + region.padded()).max().unwrap_or(0)
    }

    /// Bytes of the tensors.
    pub(super) fn bytes(&self) -> usize {
        self.regions().map(|region| region.len).sum()
    }
}
