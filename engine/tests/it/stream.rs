//! Weights that are changed or fetched on their way to a pass.

mod adapters;
mod budget;
mod failing;
mod files;
mod lockstep;
mod perturbed;
mod rows;
mod steps;
mod streamed;
mod transforms;
