use std::io::Write;

use super::{Error, Header, Kind, Log, Record};

/// Writes a log, one record at a time.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
    header: Header,
    next: u32,
    bytes: u64,
    /// Whether a record was not written whole.
    failed: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a log: writes the header.
    ///
    /// # Errors
    ///
    /// Fails where writing does.
    pub fn new(mut to: W, header: Header) -> Result<Self, Error> {
        let bytes = header.encode()?;
        to.write_all(&bytes)?;
        to.flush()?;
        let next = header.first_step;
        Ok(Self { to, header, next, bytes: bytes.len() as u64, failed: false })
    }

    /// Goes on with a log that was read. `to` is at byte [`Log::end`] of the file, where it must
    /// end: whoever opened it cuts off a torn record.
    pub fn resume(to: W, log: &Log) -> Self {
        let (header, next, bytes) = (log.header.clone(), log.next_step(), log.end);
        Self { to, header, next, bytes, failed: false }
    }

    /// The step of the next record.
    pub fn next_step(&self) -> u32 {
        self.next
    }

    /// Bytes of the log so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes a record at once and flushes it; whoever opened the file makes it durable. Called
    /// before the update is applied.
    ///
    /// # Errors
    ///
    /// Fails, and writes nothing, on a record that does not follow the last one, with more
    /// coefficients than the header says, or with a number that is not finite. Fails where writing
    /// does; the log may then end in part of a record, and takes no other.
    pub fn append(&mut self, record: &Record) -> Result<(), Error> {
        let step = record.step;
        if let Some(problem) = record.problem(&self.header, self.next) {
            return Err(Error::Record { step, problem });
        }
        let following = match record.kind {
            Kind::Update | Kind::Skip => step.checked_add(1),
            Kind::Rebase => Some(self.next),
        };
        let (Some(following), Some(bytes)) = (following, record.encode()) else {
            let problem = "expected a step below 2^32 - 1 and fewer than 2^16 numbers".to_owned();
            return Err(Error::Record { step, problem });
        };
        if self.failed {
            let problem = format!(
                "a record before it was not written whole: cut the log to {} bytes and resume it",
                self.bytes
            );
            return Err(Error::Record { step, problem });
        }
        // A record behind part of another one could not be read.
        self.failed = true;
        self.to.write_all(&bytes)?;
        self.to.flush()?;
        self.failed = false;
        self.next = following;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// What it writes to.
    pub fn get_ref(&self) -> &W {
        &self.to
    }

    /// Ends the log and returns what it was written to.
    pub fn into_inner(self) -> W {
        self.to
    }
}
