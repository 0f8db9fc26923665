use candle::Tensor;

use super::LossSums;

/// The bound at which the ratio of a token was clipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bound {
    /// None.
    #[default]
    Within,
    /// The upper one.
    Upper,
    /// The lower one, or the ceiling of the dual clip.
    Lower,
}

/// What a policy loss counts, and the bound of each target; no bounds for a loss without them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sums: LossSums,
    pub(super) bounds: Vec<Bound>,
}

impl Tally {
    /// Adds clipped tokens: at the upper bound where `is_upper` is set as well. Masks of shape
    /// (targets).
    pub(super) fn add_clipped(
        &mut self,
        clipped: &Tensor,
        is_upper: &Tensor,
    ) -> candle::Result<()> {
        let (clipped, is_upper): (Vec<u8>, Vec<u8>) = (clipped.to_vec1()?, is_upper.to_vec1()?);
        self.bounds.resize(clipped.len(), Bound::Within);
        for ((own, clipped), is_upper) in self.bounds.iter_mut().zip(clipped).zip(is_upper) {
            if clipped > 0 {
                self.sums.clipped += 1;
                *own = if is_upper > 0 { Bound::Upper } else { Bound::Lower };
            }
        }
        Ok(())
    }

    /// Adds tokens at the ceiling of the dual clip. A mask of shape (targets).
    pub(super) fn add_ceiling(&mut self, mask: &Tensor) -> candle::Result<()> {
        let mask: Vec<u8> = mask.to_vec1()?;
        self.bounds.resize(mask.len(), Bound::Within);
        for (own, _) in self.bounds.iter_mut().zip(mask).filter(|(_, at)| *at > 0) {
            self.sums.clipped_lower += 1;
            *own = Bound::Lower;
        }
        Ok(())
    }
}
