//! Which rows of a pack attend to which, and their rotary angles.

mod span;

use std::sync::Arc;

use candle::{DType, Device, Tensor};

use crate::packed::Segment;
use crate::rope::Rope;
use crate::{Packed, Result};

pub use span::Span;

/// What a block needs to know about its rows: who attends to whom, and the rotary angles.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) segments: Arc<[Segment]>,
    pub(crate) spans: Arc<[Span]>,
    /// (rows, head width / 2)
    pub(crate) cos: Tensor,
    /// (rows, head width / 2)
    pub(crate) sin: Tensor,
}

impl Layout {
    /// The layout of a pack.
    pub(crate) fn new(packed: &Packed, rope: &Rope, dtype: DType, device: &Device) -> Result<Self> {
        let (cos, sin) = rope.tables(packed.positions(), dtype, device)?;
        Ok(Self { segments: packed.segments().into(), spans: Span::of(packed), cos, sin })
    }
}
