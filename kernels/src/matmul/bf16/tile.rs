//! The layout that all microkernels share: 1 KiB tiles of rounded numbers.

/// Rows or columns of an operand in one tile.
pub(super) const GROUP: usize = 16;

/// Terms of a sum in one tile.
pub(super) const TERMS: usize = 2 * GROUP;

/// Two bf16 of consecutive terms; the first is the low half.
pub(super) type Pair = u32;

/// One cache line.
pub(super) type Line = [Pair; GROUP];

/// Sixteen rows or columns by 32 terms.
///
/// Which are the lines is said by its [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Tile(pub(super) [Line; GROUP]);

impl Tile {
    pub(super) const ZERO: Self = Self([[0; GROUP]; GROUP]);
}

/// How the pairs of a tile are laid out. One layout is the transpose of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// A line is a row with its sixteen pairs of terms: the left operand of a product.
    Rows,
    /// A line is a pair of terms of the sixteen columns: the right operand, as TDPBF16PS takes it.
    Vnni,
}

/// A packed operand: (groups, blocks of terms) tiles, zeros where rows, columns or terms end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tiles<'a> {
    tiles: &'a [Tile],
    terms: usize,
}

impl<'a> Tiles<'a> {
    /// # Panics
    ///
    /// Panics unless there are whole groups of tiles.
    pub(super) fn new(tiles: &'a [Tile], terms: usize) -> Self {
        assert!(tiles.len().is_multiple_of(blocks(terms)), "whole groups of {terms} terms");
        Self { tiles, terms }
    }

    pub(super) fn groups(self) -> usize {
        self.tiles.len() / blocks(self.terms)
    }

    pub(super) fn terms(self) -> usize {
        self.terms
    }

    /// The tiles of one group.
    #[inline(always)]
    pub(super) fn group(self, group: usize) -> &'a [Tile] {
        let blocks = blocks(self.terms);
        &self.tiles[group * blocks..][..blocks]
    }
}

/// Blocks of terms; one of zeros where there are no terms.
pub(super) fn blocks(terms: usize) -> usize {
    terms.div_ceil(TERMS).max(1)
}
