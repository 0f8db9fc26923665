use serde::{Deserialize, Serialize};

use super::super::{EstimatorConfig, Scheme};
use super::{CRC, Error};

/// The first bytes of a log.
pub const MAGIC: [u8; 8] = *b"stearZO\n";

/// Version of the format.
pub const VERSION: u32 = 1;

/// The generator and the layouts of its numbers ([`kernels::noise`]).
const NOISE: &str = "philox4x32-10/rademacher/binomial32/box-muller-libm-0.2.16/v1";

/// How updates are rounded ([`Update`](crate::zeroth::Update)).
const ROUNDING: &str = "decay, then products and sums by member, in f32/v1";

/// Bytes of the JSON, at most.
const LONGEST: usize = 64 << 20;

/// Bytes before the JSON.
const PREFIX: usize = MAGIC.len() + 8;

/// What a replay needs beside records and the weights of the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    noise: String,
    rounding: String,
    /// Type of the master weights.
    master: String,
    /// What fixes the directions: the run's seed, tensors and masks.
    pub scheme: Scheme,
    /// The method, whose settings a replay does not need.
    pub estimator: EstimatorConfig,
    /// The step of the first record.
    pub first_step: u32,
    /// Coefficients of a record, at most.
    pub most_coefficients: u16,
    /// Digests of the weights of the start ([`TensorSpec::digest`]): one for each tensor of the
    /// scheme, in order. Whoever replays compares them by [`Self::compare`].
    ///
    /// [`TensorSpec::digest`]: crate::zeroth::TensorSpec::digest
    pub digests: Vec<String>,
}

impl Header {
    /// A header of this program.
    ///
    /// # Errors
    ///
    /// Fails unless there is a digest for each tensor.
    pub fn new(
        scheme: Scheme,
        estimator: EstimatorConfig,
        first_step: u32,
        most_coefficients: u16,
        digests: Vec<String>,
    ) -> Result<Self, Error> {
        let [noise, rounding, master] = [NOISE, ROUNDING, "f32"].map(str::to_owned);
        let header = Self {
            noise,
            rounding,
            master,
            scheme,
            estimator,
            first_step,
            most_coefficients,
            digests,
        };
        header.check()?;
        Ok(header)
    }

    /// Compares the digests of weights with those of the start.
    ///
    /// # Errors
    ///
    /// Fails unless there is one for each tensor, and on the first tensor with another one.
    pub fn compare(&self, digests: &[String]) -> Result<(), Error> {
        let tensors = self.scheme.tensors.all();
        if digests.len() != tensors.len() {
            let got = digests.len();
            return bad(format!("{} tensors, compared with {got} of the weights", tensors.len()));
        }
        let mut pairs = tensors.iter().zip(self.digests.iter().zip(digests));
        match pairs.find(|(_, (expected, got))| expected != got) {
            None => Ok(()),
            Some((tensor, (expected, got))) => bad(format!(
                "{} is not as it was at the start of the run: digest {got}, expected {expected}; \
                 replay the log on the weights that the run began with",
                tensor.name
            )),
        }
    }

    fn check(&self) -> Result<(), Error> {
        for (what, got, expected) in [
            ("noise", &self.noise, NOISE),
            ("rounding", &self.rounding, ROUNDING),
            ("type of the weights", &self.master, "f32"),
        ] {
            if got != expected {
                return bad(format!(
                    "{what} is {got:?}, expected {expected:?}: replay it with the version of the \
                     program that wrote it"
                ));
            }
        }
        let (digests, tensors) = (self.digests.len(), self.scheme.tensors.all().len());
        if digests != tensors {
            return bad(format!("{digests} digests, expected {tensors}, one for each tensor"));
        }
        match self.scheme.problems().first() {
            Some(problem) => bad(problem.clone()),
            None => Ok(()),
        }
    }

    /// Its bytes in a file.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let json = serde_json::to_vec(self)
            .map_err(|error| Error::Header { problem: error.to_string() })?;
        let Some(len) = u32::try_from(json.len()).ok().filter(|_| json.len() <= LONGEST) else {
            return bad(format!("{} bytes, expected at most {LONGEST}", json.len()));
        };
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes(), &len.to_le_bytes(), &json].concat();
        bytes.extend(CRC.checksum(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// The header at the start of a file, and how many bytes it has.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, usize), Error> {
        let Some((prefix, rest)) = bytes.split_at_checked(PREFIX) else {
            return bad(format!("the file ends after {} bytes", bytes.len()));
        };
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| prefix[at + i]));
        if prefix[..MAGIC.len()] != MAGIC {
            return bad("the first bytes are not those of a log".to_owned());
        }
        let version = word(MAGIC.len());
        if version != VERSION {
            return bad(format!("version {version}, expected {VERSION}"));
        }
        let len = word(MAGIC.len() + 4) as usize;
        if len > LONGEST {
            return bad(format!("{len} bytes, expected at most {LONGEST}: it is damaged"));
        }
        let Some((json, rest)) = rest.split_at_checked(len) else {
            return bad(format!("the file ends within its {len} bytes"));
        };
        let Some(sum) = rest.first_chunk::<4>() else {
            return bad("the file ends within its checksum".to_owned());
        };
        let (expected, got) = (u32::from_le_bytes(*sum), CRC.checksum(&bytes[..PREFIX + len]));
        if expected != got {
            return bad(format!("checksum {got:#010x}, expected {expected:#010x}: it is damaged"));
        }
        let header: Self = serde_json::from_slice(json)
            .map_err(|error| Error::Header { problem: error.to_string() })?;
        header.check()?;
        Ok((header, PREFIX + len + 4))
    }
}

fn bad<T>(problem: String) -> Result<T, Error> {
    Err(Error::Header { problem })
}
