use std::io::Read;

use kernels::threads::Threads;

use super::record::{Found, bytes_of};
use super::{Error, Header, Kind, Record};
use crate::zeroth::{TensorSpec, Update};

/// A log that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// What fixes the directions.
    pub header: Header,
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where the last record ends.
    pub end: u64,
    /// What follows it and is no record.
    pub torn: Option<Torn>,
}

/// The end of a log that a crash left: part of a record or a damaged one, zeros, or the one and
/// then the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Torn {
    /// The step that it would have been of.
    pub step: u32,
    /// Its bytes, which are dropped.
    pub bytes: u64,
}

impl std::fmt::Display for Torn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { step, bytes } = self;
        write!(f, "the last {bytes} bytes of the log are no whole record of step {step}: dropped")
    }
}

impl Log {
    /// Reads a log to its end.
    ///
    /// # Errors
    ///
    /// Fails on a header that is not of this program's version, and on a damaged record that others
    /// follow. A damaged end is no error ([`Torn`]).
    pub fn read(mut from: impl Read) -> Result<Self, Error> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let (header, mut at) = Header::decode(&bytes)?;
        let mut log = Self { header, records: Vec::new(), end: 0, torn: None };
        let mut next = log.header.first_step;
        while at < bytes.len() {
            let problem = match Record::decode(&bytes[at..]) {
                Found::Record(record, len) => {
                    // Its checksum is right: no crash left it, whatever follows.
                    let offset = at as u64;
                    if let Some(problem) = record.problem(&log.header, next) {
                        return Err(Error::Damaged { step: next, offset, problem });
                    }
                    next = log.following(&record, next)?;
                    log.records.push(record);
                    at += len;
                    continue;
                }
                Found::Cut => "the file ends within it".to_owned(),
                Found::Damaged(problem) => problem,
            };
            if !log.is_end(&bytes[at..], next) {
                return Err(Error::Damaged { step: next, offset: at as u64, problem });
            }
            log.torn = Some(Torn { step: next, bytes: (bytes.len() - at) as u64 });
            break;
        }
        log.end = at as u64;
        Ok(log)
    }

    fn following(&self, record: &Record, next: u32) -> Result<u32, Error> {
        let following = match record.kind {
            Kind::Update | Kind::Skip => next.checked_add(1),
            Kind::Rebase => Some(next),
        };
        following.ok_or_else(|| Error::Record {
            step: record.step,
            problem: format!("the last step of all after {} records", self.records.len()),
        })
    }

    /// Whether bytes that begin with no record are one that a crash cut off or never wrote: no
    /// whole record of a later step follows, and without the zeros of a file that was extended
    /// before it was written they are not longer than one.
    fn is_end(&self, bytes: &[u8], next: u32) -> bool {
        let later = |at: usize| {
            // Most places are ruled out by their step, without a checksum.
            let step = bytes[at..].first_chunk().map(|step| u32::from_le_bytes(*step));
            step.is_some_and(|step| step >= next && u64::from(step - next) <= bytes.len() as u64)
                && matches!(Record::decode(&bytes[at..]), Found::Record(..))
        };
        let longest = bytes_of(usize::from(self.header.most_coefficients));
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        written <= longest && !(1..written).any(later)
    }

    /// The step that the next record is of.
    pub fn next_step(&self) -> u32 {
        let last = self.records.last();
        last.map_or(self.header.first_step, |record| record.step + 1)
    }

    /// Drops the records of step `from` and later ones, and moves the end of the log there.
    pub fn cut(&mut self, from: u32) {
        while let Some(record) = self.records.pop_if(|record| record.step >= from) {
            self.end -= bytes_of(record.coefficients.len()) as u64;
        }
    }

    /// The updates of steps `from..`, in order, for weights as they were before that step: that of
    /// the first record, or the one after the step of a snapshot.
    ///
    /// # Errors
    ///
    /// Fails when the log does not have each step from `from` on, or begins after it, and on a
    /// record whose coefficients are not those of its step.
    pub fn updates(&self, from: u32) -> crate::Result<Vec<Update>> {
        self.check_steps(from)?;
        let records = self.records.iter();
        let updates = records.filter(|record| record.kind == Kind::Update && record.step >= from);
        updates
            .map(|record| {
                let Record { step, lr, decay, coefficients, .. } = record;
                self.header.scheme.update(*step, *lr, *decay, coefficients)
            })
            .collect()
    }

    /// Whether each step is there, from the header's first one on, and `from` is one of them or the
    /// next.
    fn check_steps(&self, from: u32) -> crate::Result<()> {
        let mut next = self.header.first_step;
        for record in self.records.iter().filter(|record| record.kind != Kind::Rebase) {
            if record.step != next {
                return Err(crate::Error::Update {
                    step: record.step,
                    problem: format!("the log has no record of step {next} before it"),
                });
            }
            next = next.saturating_add(1);
        }
        if (self.header.first_step..=next).contains(&from) {
            return Ok(());
        }
        Err(crate::Error::Update {
            step: from,
            problem: format!(
                "the log leads from the weights before step {} to those before step {next}: replay \
                 it on weights of one of these steps",
                self.header.first_step
            ),
        })
    }

    /// Brings elements `first..` of a tensor from before step `from` to after the last record: the
    /// bits that a run has once its last update is applied.
    ///
    /// Shapes: `start` as in [`Update::apply`].
    ///
    /// # Errors
    ///
    /// Fails, before anything changes, where [`Self::updates`] does.
    ///
    /// # Panics
    ///
    /// As [`Update::apply`].
    pub fn replay(
        &self,
        threads: Threads<'_>,
        from: u32,
        tensor: &TensorSpec,
        first: u64,
        values: &mut [f32],
        start: &[f32],
    ) -> crate::Result<()> {
        for update in self.updates(from)? {
            update.apply(threads, tensor, first, values, start);
        }
        Ok(())
    }
}
