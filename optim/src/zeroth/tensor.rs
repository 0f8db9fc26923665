use std::collections::BTreeMap;

use kernels::digest::Digest;
use rand_philox::splitmix64;
use serde::{Deserialize, Serialize};

use super::Mask;
use crate::{Error, Result};

/// A trainable tensor. Its noise depends on `id` and on places in it, not on other tensors or their
/// order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Number in the counter of the noise: [`tensor_id`] of the name, or that of the tensor that it
    /// is tied to.
    pub id: u32,
    /// Name, as in checkpoints.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Whether weight decay applies.
    pub decay: bool,
    /// The elements that are trained.
    pub mask: Mask,
    /// The tensor whose values this one shares.
    pub tied_to: Option<String>,
}

impl TensorSpec {
    /// A tensor of its own, all of whose elements are trained.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, decay: bool) -> Self {
        let name = name.into();
        let id = tensor_id(&name);
        Self { id, name, shape: shape.into(), decay, mask: Mask::All, tied_to: None }
    }

    /// A tensor that shares the values of this one, and so its noise.
    #[must_use]
    pub fn tied(&self, name: impl Into<String>) -> Self {
        Self { name: name.into(), tied_to: Some(self.name.clone()), ..self.clone() }
    }

    /// The same tensor with other elements trained.
    #[must_use]
    pub fn with_mask(self, mask: Mask) -> Self {
        Self { mask, ..self }
    }

    /// Number of elements. A shape of more than a machine can count has the most that it can.
    pub fn len(&self) -> usize {
        let product =
            self.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        // The product of zero and what overflows is zero.
        product.unwrap_or(if self.shape.contains(&0) { 0 } else { usize::MAX })
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of its values, which the header of a log has ([`Digest`]).
    ///
    /// Shapes: `values` as many as it has elements.
    pub fn digest(&self, values: &[f32]) -> String {
        let mut digest = Digest::new(self.id, &self.shape);
        digest.update(values);
        digest.finish()
    }

    /// Rows and columns, of a tensor that has two dimensions of more than 1.
    pub fn matrix(&self) -> Option<[usize; 2]> {
        match self.shape[..] {
            [rows, columns] if rows > 1 && columns > 1 => Some([rows, columns]),
            _ => None,
        }
    }
}

/// The number of a tensor by its name: 64-bit FNV-1a, then the high half of the finaliser of
/// `SplitMix64`. It never changes.
pub fn tensor_id(name: &str) -> u32 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (splitmix64(hash) >> 32) as u32
}

/// The trainable tensors of a run, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<TensorSpec>", into = "Vec<TensorSpec>")]
pub struct Tensors(Vec<TensorSpec>);

impl Tensors {
    /// The tensors.
    ///
    /// # Errors
    ///
    /// Fails on none, on two of one name, on two with one number that are not tied, and on a tensor
    /// that is tied to none of them or to one of another shape or mask.
    pub fn new(tensors: Vec<TensorSpec>) -> Result<Self> {
        if tensors.is_empty() {
            return Err(Error::Params("there is no tensor to perturb".to_owned()));
        }
        let mut by_name = BTreeMap::new();
        let mut by_id: BTreeMap<u32, &TensorSpec> = BTreeMap::new();
        for tensor in &tensors {
            if by_name.insert(&tensor.name, tensor).is_some() {
                return Err(Error::Params(format!("two tensors are called {}", tensor.name)));
            }
            if tensor.tied_to.is_some() {
                continue;
            }
            if let Some(other) = by_id.insert(tensor.id, tensor) {
                return Err(Error::Params(format!(
                    "{} and {} both have the number {:#010x} and would get the same noise: rename \
                     one of them, or tie them",
                    other.name, tensor.name, tensor.id
                )));
            }
        }
        for tensor in &tensors {
            let Some(name) = &tensor.tied_to else { continue };
            let fits = by_name.get(name).is_some_and(|other| {
                other.tied_to.is_none()
                    && (other.id, &other.shape, other.decay, &other.mask)
                        == (tensor.id, &tensor.shape, tensor.decay, &tensor.mask)
            });
            if !fits {
                return Err(Error::Params(format!(
                    "{} is tied to {name}: expected a tensor of that name with the same number, \
                     shape, decay and mask",
                    tensor.name
                )));
            }
        }
        Ok(Self(tensors))
    }

    /// All of them.
    pub fn all(&self) -> &[TensorSpec] {
        &self.0
    }

    /// Those that have values of their own.
    pub fn own(&self) -> impl Iterator<Item = &TensorSpec> {
        self.0.iter().filter(|tensor| tensor.tied_to.is_none())
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&TensorSpec> {
        self.0.iter().find(|tensor| tensor.name == name)
    }
}

impl TryFrom<Vec<TensorSpec>> for Tensors {
    type Error = Error;

    fn try_from(tensors: Vec<TensorSpec>) -> Result<Self> {
        Self::new(tensors)
    }
}

impl From<Tensors> for Vec<TensorSpec> {
    fn from(tensors: Tensors) -> Self {
        tensors.0
    }
}
