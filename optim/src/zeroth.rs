//! Zeroth-order methods: they move parameters by the scores of perturbed copies.
//!
//! Reading order: [`mix64`] and [`TensorSpec`], which noise is a function of; [`Direction`] and
//! [`Scheme`]; [`Probe`] and [`Update`]; [`Estimator`] and the methods; [`log`].
//!
//! There are no tensors here. Weights are slices of an `f32` master, a slice of a tensor at a time,
//! so that a caller can stream them. A probe never writes to the master. An update is a value: it
//! holds the learning rate of its step and can be applied later, and in parts, with the same bits.
//!
//! Sources: arXiv 2305.17333 (MeZO), 2503.12668 (`ZO2`), 2509.24372 (evolution strategies).

mod seed;

// What is trained, and which of its elements.
mod mask;
mod scope;
mod tensor;

pub mod grasp;

// What is added to weights: for a probe, and for good.
mod direction;
mod scheme;

mod probe;
mod update;

// The methods.
mod estimator;

mod coordinates;
mod es;
mod fzoo;
mod spsa;

mod config;

pub mod log;

pub use config::{DirectionConfig, EstimatorConfig};
pub use coordinates::{Coordinates, CoordinatesConfig};
pub use direction::{Direction, Draw, Noise, Term, Vectors};
pub use es::{Baseline, Es, EsConfig};
pub use estimator::{Estimator, Outcome, Reduced, Skip, Stats};
pub use fzoo::{Fzoo, FzooConfig};
pub use mask::Mask;
pub use probe::Probe;
pub use scheme::{DecayTo, Scheme};
pub use scope::Scope;
pub use seed::{Purpose, mix64};
pub use spsa::{Spsa, SpsaConfig};
pub use tensor::{TensorSpec, Tensors, tensor_id};
pub use update::Update;
