use kernels::noise::low_rank::{self, Matrix};
use kernels::noise::{self, Kind, Part, Stream};
use kernels::threads::Threads;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Mask, TensorSpec};

/// The distribution of noise; mean 0 and variance 1 in each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ZerothNoise")]
pub enum Noise {
    /// 1 or -1: the cheapest, and the same bits on every device. Sources: arXiv 2506.09034 and
    /// 1.5-SPSA.
    #[default]
    Rademacher,
    /// The number of set bits of a word, centred and scaled: 33 values up to 5.66.
    Binomial,
    /// Normal, as in MeZO and in evolution strategies. Twenty times as slow as `rademacher`.
    Gaussian,
}

impl From<Noise> for Kind {
    fn from(noise: Noise) -> Self {
        match noise {
            Noise::Rademacher => Self::Rademacher,
            Noise::Binomial => Self::Binomial,
            Noise::Gaussian => Self::Gaussian,
        }
    }
}

/// What directions of low rank do with tensors that are no matrices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "ZerothVectors")]
pub enum Vectors {
    /// They get a number for each element.
    #[default]
    Dense,
    /// They are not trained.
    Frozen,
}

/// The form of a direction `z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Direction {
    /// A number for each element.
    Dense {
        /// Distribution.
        noise: Noise,
    },
    /// `A^T B / sqrt(rank)` for matrices ([`kernels::noise::low_rank`]).
    LowRank {
        /// Distribution of the elements of both factors.
        noise: Noise,
        /// Rank.
        rank: u32,
        /// All other tensors.
        vectors: Vectors,
    },
    /// 1 at one element, 0 elsewhere.
    Coordinates,
}

/// A direction and what it is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Seed of the direction; of a coordinate, the number of its tensor in the high half and its
    /// place in the low one.
    pub seed: u64,
    /// Factor.
    pub scale: f32,
}

/// What the directions of some steps have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the factor `B`, where it is not drawn for each direction.
    pub subspace: Option<u64>,
    /// Seed of random masks.
    pub mask: u64,
}

/// Elements that a task takes at a time.
const CHUNK: usize = 1 << 14;

/// How a direction is made for one tensor.
enum Form {
    Dense(Kind),
    LowRank(Matrix),
    Coordinate,
    Frozen,
}

impl Direction {
    fn form(self, tensor: &TensorSpec) -> Form {
        if tensor.mask == Mask::None {
            return Form::Frozen;
        }
        match self {
            Self::Dense { noise } => Form::Dense(noise.into()),
            Self::Coordinates => Form::Coordinate,
            Self::LowRank { noise, rank, vectors } => match (tensor.matrix(), vectors) {
                (Some([rows, columns]), _) => Form::LowRank(Matrix {
                    tensor: tensor.id,
                    rows,
                    columns,
                    rank: rank as usize,
                    kind: noise.into(),
                }),
                (None, Vectors::Dense) => Form::Dense(noise.into()),
                (None, Vectors::Frozen) => Form::Frozen,
            },
        }
    }

    /// The matrix and the factors of terms, where this tensor's noise is of low rank.
    pub(super) fn low_rank(
        self,
        tensor: &TensorSpec,
        draw: Draw,
        terms: &[Term],
    ) -> Option<(Matrix, Vec<low_rank::Term>)> {
        let Form::LowRank(matrix) = self.form(tensor) else { return None };
        Some((matrix, factors(draw, terms)))
    }

    /// Adds terms to elements `first..` in ascending order, after `decay` of the elements that are
    /// trained. Terms of 0 add nothing. Masks are those of the values before.
    ///
    /// `decay` gets where a slice begins in `values`, and the slice.
    pub(super) fn add(
        self,
        threads: Threads<'_>,
        tensor: &TensorSpec,
        (draw, terms): (Draw, &[Term]),
        first: u64,
        values: &mut [f32],
        decay: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let end = first.checked_add(values.len() as u64);
        assert!(
            end.is_some_and(|end| end <= tensor.len() as u64),
            "{} elements from {first} on of {}, which has {}",
            values.len(),
            tensor.name,
            tensor.len()
        );
        let terms: Vec<Term> = terms.iter().copied().filter(|term| term.scale != 0.0).collect();
        match self.form(tensor) {
            Form::Frozen => {}
            Form::Dense(kind) => threads.each_of(slices(values), |(at, values)| {
                let first = first + at as u64;
                let Some(kept) = tensor.mask.kept(draw.mask, tensor.id, first, values) else {
                    decay(at, values);
                    return add_dense(kind, tensor.id, &terms, first, values);
                };
                let mut moved = values.to_vec();
                decay(at, &mut moved);
                add_dense(kind, tensor.id, &terms, first, &mut moved);
                for ((value, moved), kept) in values.iter_mut().zip(moved).zip(kept) {
                    if kept {
                        *value = moved;
                    }
                }
            }),
            Form::LowRank(matrix) => {
                threads.each_of(slices(values), |(at, values)| decay(at, values));
                matrix.add(threads, &factors(draw, &terms), first, values);
            }
            Form::Coordinate => {
                threads.each_of(slices(values), |(at, values)| decay(at, values));
                for term in terms {
                    let place = (term.seed & u64::from(u32::MAX)).checked_sub(first);
                    let own = (term.seed >> 32) as u32 == tensor.id;
                    let at = place.filter(|_| own).and_then(|place| usize::try_from(place).ok());
                    if let Some(value) = at.and_then(|at| values.get_mut(at)) {
                        *value += term.scale;
                    }
                }
            }
        }
    }

    /// [`Self::add`] to some rows of a matrix, in any order. Factors of low rank are made once for
    /// all of them.
    ///
    /// Shapes: `values` (rows, columns).
    pub(super) fn add_rows(
        self,
        threads: Threads<'_>,
        tensor: &TensorSpec,
        (draw, terms): (Draw, &[Term]),
        rows: &[u32],
        values: &mut [f32],
        decay: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if rows.is_empty() {
            return;
        }
        let width = values.len() / rows.len();
        let matrix = [width * rows.len(), tensor.shape.last().copied().unwrap_or(1)];
        assert_eq!(matrix, [values.len(), width], "whole rows of {}", tensor.name);
        let kept: Vec<Term> = terms.iter().copied().filter(|term| term.scale != 0.0).collect();
        let factors = factors(draw, &kept);
        let prepared = match self.form(tensor) {
            Form::LowRank(matrix) => Some(matrix.prepared(threads, &factors)),
            _ => None,
        };
        for ((&row, at), values) in
            rows.iter().zip((0..).step_by(width)).zip(values.chunks_exact_mut(width))
        {
            let first = u64::from(row) * width as u64;
            let decay = |within: usize, values: &mut [f32]| decay(at + within, values);
            match &prepared {
                Some(prepared) => {
                    decay(0, values);
                    prepared.add(threads, first, values);
                }
                None => self.add(threads, tensor, (draw, &kept), first, values, decay),
            }
        }
    }

    /// Whether `to = from + c z` is one pass for this tensor, and of which kind.
    pub(super) fn is_plain(self, tensor: &TensorSpec) -> Option<Kind> {
        match self.form(tensor) {
            Form::Dense(kind) if tensor.mask == Mask::All => Some(kind),
            _ => None,
        }
    }
}

fn slices(values: &mut [f32]) -> impl Iterator<Item = (usize, &mut [f32])> {
    values.chunks_mut(CHUNK).enumerate().map(|(i, values)| (i * CHUNK, values))
}

/// One slice at a time for all terms: it stays in the cache.
fn add_dense(kind: Kind, tensor: u32, terms: &[Term], first: u64, values: &mut [f32]) {
    for term in terms {
        let stream = Stream { seed: term.seed, tensor, part: Part::Dense };
        noise::add_in_place(Threads::One, kind, stream, first, term.scale, values);
    }
}

fn factors(draw: Draw, terms: &[Term]) -> Vec<low_rank::Term> {
    let factors = |term: &Term| low_rank::Term {
        a: term.seed,
        b: draw.subspace.unwrap_or(term.seed),
        scale: term.scale,
    };
    terms.iter().map(factors).collect()
}
