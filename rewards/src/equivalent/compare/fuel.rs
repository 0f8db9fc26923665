//! The work that one comparison may do, counted and never timed.

/// Why a value is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// There is none: a division by zero, a logarithm of zero, a real function outside its domain.
    Undefined,
    /// The precision does not tell; more of it may.
    Unclear,
    /// The work, or the size of a number, is beyond what a comparison may cost.
    Spent,
    /// It is no number, or this kind of evaluation does not know it.
    Foreign,
}

/// What is left of the work, in steps of five nanoseconds or so; by default, nothing.
#[derive(Debug, Default)]
pub(in crate::equivalent) struct Fuel {
    steps: u64,
}

impl Fuel {
    /// Enough for every comparison of two answers that people wrote, and below 20 ms.
    pub(super) const STEPS: u64 = 800_000;

    pub(in crate::equivalent) fn new() -> Self {
        Self { steps: Self::STEPS }
    }

    /// Lets `work` have at most a part of what is left.
    pub(super) fn lend<T>(&mut self, part: u64, work: impl FnOnce(&mut Self) -> T) -> T {
        let mut lent = Self { steps: self.steps / part };
        self.steps -= lent.steps;
        let result = work(&mut lent);
        self.steps += lent.steps;
        result
    }

    /// Takes `steps` away, before the work is done.
    pub(super) fn burn(&mut self, steps: u64) -> Result<(), Trouble> {
        let left = self.steps.checked_sub(steps);
        self.steps = left.unwrap_or(0);
        left.map(drop).ok_or(Trouble::Spent)
    }

    /// For one operation on numbers of `bits` bits.
    pub(super) fn burn_product(&mut self, bits: usize) -> Result<(), Trouble> {
        let words = bits as u64 / 64 + 1;
        self.burn(12 + words.saturating_mul(words) / 8)
    }
}
