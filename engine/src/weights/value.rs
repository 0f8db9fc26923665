//! The values of a weight: numbers, or the bytes of a file.

use std::ops::Range;
use std::sync::Arc;

use candle::{DType, Device, Tensor};

use crate::{Error, Result};
use kernels::blocks::{Format, is_finite};
use kernels::linear::BlockMatrix;
use kernels::threads::Threads;

/// The values of a weight.
#[derive(Debug, Clone)]
pub enum Value {
    /// As numbers.
    Tensor(Tensor),
    /// A matrix in the format of the file that it was read from.
    Stored(StoredMatrix),
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

impl From<StoredMatrix> for Value {
    fn from(matrix: StoredMatrix) -> Self {
        Self::Stored(matrix)
    }
}

impl Value {
    /// Sizes of its dimensions.
    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Stored(matrix) => &matrix.shape,
        }
    }

    /// All values as a tensor: itself where it is one, else decoded.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses a tensor.
    pub fn tensor(&self, dtype: DType, device: &Device) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.clone()),
            Self::Stored(matrix) => matrix.decoded(0..matrix.shape[0], dtype, device),
        }
    }

    /// Some rows of a matrix: a view where it is a tensor, else decoded.
    ///
    /// Shapes: result (rows, width).
    ///
    /// # Errors
    ///
    /// Fails when there are fewer rows.
    pub fn rows(&self, rows: Range<usize>, dtype: DType, device: &Device) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.narrow(0, rows.start, rows.len())?),
            Self::Stored(matrix) => matrix.decoded(rows, dtype, device),
        }
    }

    /// The rows of a matrix that `indices` names.
    ///
    /// Shapes: result (indices, width).
    ///
    /// # Errors
    ///
    /// Fails when there is no such row.
    pub fn gather(&self, indices: &[u32], dtype: DType, device: &Device) -> Result<Tensor> {
        match self {
            Self::Tensor(tensor) => Ok(tensor.index_select(&Tensor::new(indices, device)?, 0)?),
            Self::Stored(matrix) => {
                let [rows, width] = matrix.shape;
                let mut values = vec![0.0; indices.len() * width];
                for (&index, to) in indices.iter().zip(values.chunks_exact_mut(width)) {
                    let index = index as usize;
                    if index >= rows {
                        return Err(no_rows(&(index..index + 1), rows));
                    }
                    matrix.matrix().rows(index..index + 1, to);
                }
                let values = Tensor::from_vec(values, (indices.len(), width), &Device::Cpu)?;
                Ok(values.to_dtype(dtype)?.to_device(device)?)
            }
        }
    }

    /// The same values without a graph.
    #[must_use]
    pub fn detach(&self) -> Self {
        match self {
            Self::Tensor(tensor) => Self::Tensor(tensor.detach()),
            Self::Stored(matrix) => Self::Stored(matrix.clone()),
        }
    }
}

/// A matrix in the format of the file that it was read from. It stands for the numbers that it
/// decodes to, and every result with it equals that with these numbers to the bit. Clones share its
/// bytes.
#[derive(Debug, Clone)]
pub struct StoredMatrix {
    format: Format,
    /// Rows and width.
    shape: [usize; 2],
    bytes: Arc<Vec<u8>>,
}

impl StoredMatrix {
    /// A matrix of these bytes, row after row; `None` where a row is not whole blocks of the
    /// format, or where the bytes are of another matrix.
    pub fn new(format: Format, shape: [usize; 2], bytes: Vec<u8>) -> Option<Self> {
        let [rows, width] = shape;
        let expected = format.bytes(width)?.checked_mul(rows)?;
        let whole = width > 0 && bytes.len() == expected;
        whole.then(|| Self { format, shape, bytes: Arc::new(bytes) })
    }

    /// [`Self::new`] of bytes that are shared.
    pub(crate) fn shared(format: Format, shape: [usize; 2], bytes: Arc<Vec<u8>>) -> Self {
        Self { format, shape, bytes }
    }

    /// Row after row.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How a row is stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rows and width.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Bytes in memory.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether every number that it decodes to is finite.
    pub fn is_finite(&self) -> bool {
        is_finite(self.format, &self.bytes)
    }

    /// The operand of a kernel.
    pub(crate) fn matrix(&self) -> BlockMatrix<'_> {
        let [rows, width] = self.shape;
        BlockMatrix::new(self.format, &self.bytes, rows, width)
    }

    fn decoded(&self, rows: Range<usize>, dtype: DType, device: &Device) -> Result<Tensor> {
        let [all, width] = self.shape;
        if rows.start > rows.end || rows.end > all {
            return Err(no_rows(&rows, all));
        }
        let mut values = vec![0.0; rows.len() * width];
        let shape = (rows.len(), width);
        self.matrix().decode_rows(Threads::Pool, rows, &mut values);
        let values = Tensor::from_vec(values, shape, &Device::Cpu)?;
        Ok(values.to_dtype(dtype)?.to_device(device)?)
    }

    /// The rows in another order: row `i` of the result is row `from(i)`.
    #[must_use]
    pub(crate) fn with_rows(&self, from: impl Fn(usize) -> usize) -> Self {
        let row = self.bytes.len() / self.shape[0].max(1);
        let mut moved = Vec::with_capacity(self.bytes.len());
        for i in 0..self.shape[0] {
            moved.extend_from_slice(&self.bytes[from(i) * row..][..row]);
        }
        Self { bytes: Arc::new(moved), ..self.clone() }
    }
}

fn no_rows(rows: &Range<usize>, all: usize) -> Error {
    Error::Input(format!("rows {rows:?} of a matrix that has {all}"))
}
