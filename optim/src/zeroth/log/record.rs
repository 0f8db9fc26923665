use super::{CRC, Header};
use crate::zeroth::{Outcome, Skip, Update};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The step moved the weights.
    Update,
    /// The step did not.
    Skip,
    /// The weights after the step were saved.
    Rebase,
}

/// A record of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The step.
    pub step: u32,
    /// What it says.
    pub kind: Kind,
    /// Learning rate of the step.
    pub lr: f32,
    /// Weight decay, which the learning rate multiplies.
    pub decay: f32,
    /// Coefficients of an update, as they are added.
    pub coefficients: Vec<f32>,
}

/// Bytes before the coefficients.
const PREFIX: usize = 15;

/// Bytes of a record without coefficients.
const SHORTEST: usize = PREFIX + 4;

/// Bytes of a record of `coefficients` numbers.
pub(super) fn bytes_of(coefficients: usize) -> usize {
    SHORTEST + 4 * coefficients
}

/// What stands at a place of a file.
pub(super) enum Found {
    /// A record, and how many bytes it has.
    Record(Record, usize),
    /// The start of one that the file ends in.
    Cut,
    /// None, and why.
    Damaged(String),
}

impl Record {
    /// The record of a step that ends so.
    pub fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Update(update) => update.into(),
            Outcome::Skip(Skip { step, lr, .. }) => Self {
                step: *step,
                kind: Kind::Skip,
                lr: *lr,
                decay: 0.0,
                coefficients: Vec::new(),
            },
        }
    }

    /// The record that the weights after a step were saved.
    pub fn rebase(step: u32) -> Self {
        Self { step, kind: Kind::Rebase, lr: 0.0, decay: 0.0, coefficients: Vec::new() }
    }

    /// What is wrong with it as the record that follows step `next - 1`.
    pub(super) fn problem(&self, header: &Header, next: u32) -> Option<String> {
        let expected = match self.kind {
            Kind::Update | Kind::Skip => Some(next),
            Kind::Rebase => next.checked_sub(1).filter(|last| *last >= header.first_step),
        };
        let (count, most) = (self.coefficients.len(), usize::from(header.most_coefficients));
        let mut numbers = [&self.lr, &self.decay].into_iter().chain(&self.coefficients);
        if expected != Some(self.step) {
            return Some(match expected {
                Some(expected) => format!("step {}, expected {expected}", self.step),
                None => "weights saved before the first step".to_owned(),
            });
        }
        match self.kind {
            Kind::Update if count > most => {
                Some(format!("{count} numbers, expected at most {most}"))
            }
            Kind::Skip | Kind::Rebase if count > 0 => {
                Some(format!("{count} numbers, expected none"))
            }
            _ => numbers
                .find(|number| !number.is_finite())
                .map(|number| format!("a number is {number}, expected a finite one")),
        }
    }

    /// Its bytes in a file; `None` for more coefficients than a record can have.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let count = u16::try_from(self.coefficients.len()).ok()?;
        let kind = match self.kind {
            Kind::Update => 0,
            Kind::Skip => 1,
            Kind::Rebase => 2,
        };
        let mut bytes = Vec::with_capacity(bytes_of(self.coefficients.len()));
        bytes.extend(self.step.to_le_bytes());
        bytes.push(kind);
        bytes.extend(self.lr.to_le_bytes());
        bytes.extend(self.decay.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(self.coefficients.iter().flat_map(|value| value.to_le_bytes()));
        bytes.extend(CRC.checksum(&bytes).to_le_bytes());
        Some(bytes)
    }

    /// What `bytes` begin with.
    pub(super) fn decode(bytes: &[u8]) -> Found {
        let Some(prefix) = bytes.first_chunk::<PREFIX>() else { return Found::Cut };
        let &[s0, s1, s2, s3, kind, l0, l1, l2, l3, d0, d1, d2, d3, n0, n1] = prefix;
        let kind = match kind {
            0 => Kind::Update,
            1 => Kind::Skip,
            2 => Kind::Rebase,
            _ => return Found::Damaged(format!("unknown kind {kind}")),
        };
        let len = bytes_of(usize::from(u16::from_le_bytes([n0, n1])));
        let Some(own) = bytes.get(..len) else { return Found::Cut };
        let (body, sum) = own.split_at(len - 4);
        let (expected, got) = (CRC.checksum(body).to_le_bytes(), sum);
        if expected != got {
            return Found::Damaged("its checksum differs".to_owned());
        }
        let (numbers, _) = body[PREFIX..].as_chunks::<4>();
        let record = Self {
            step: u32::from_le_bytes([s0, s1, s2, s3]),
            kind,
            lr: f32::from_le_bytes([l0, l1, l2, l3]),
            decay: f32::from_le_bytes([d0, d1, d2, d3]),
            coefficients: numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        };
        Found::Record(record, len)
    }
}

impl From<&Update> for Record {
    fn from(update: &Update) -> Self {
        Self {
            step: update.step,
            kind: Kind::Update,
            lr: update.lr,
            decay: update.decay,
            coefficients: update.coefficients(),
        }
    }
}
