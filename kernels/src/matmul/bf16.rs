//! Matrix products of numbers rounded to bf16, with sums in `f32`.
//!
//! Both operands are rounded and packed in tiles of sixteen rows or columns by 32 terms
//! (`bf16/tile.rs`), the same for all three microkernels. Which one multiplies depends on the
//! processor alone, never on the numbers of rows or on timing, since each has its own order of
//! sums: [`instruction`]. With one of them, every output has one order of sums, whatever the other
//! rows, the tasks and the threads.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;

use super::pack::Operand;
use crate::matrix::MatRef;
use crate::output::Output;
use crate::threads::Threads;
use pack::{pack, pack_groups};
use product::{Epilogue, Product, multiply};
use tile::{GROUP, Layout, Tile, Tiles, blocks};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod pack;
mod product;
mod round;
mod tile;
mod widened;

#[cfg(test)]
mod emulate;
#[cfg(test)]
mod tests;

/// By which instruction products are computed. Each has its own order of sums, so results of two of
/// them differ in the last bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// TDPBF16PS of AMX: for each 32 terms the even and the odd ones are summed apart, then added
    /// to each other and to the sum so far. Subnormal numbers are zero.
    Amx,
    /// VDPBF16PS of AVX512-BF16: one chain, in which the second term of each pair comes first.
    /// Subnormal numbers are zero.
    Avx512Bf16,
    /// Fused multiply-adds of `f32`, in the order of [`Self::Avx512Bf16`]. Subnormal sums stay.
    Widened,
}

impl Instruction {
    /// Its name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx-bf16",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Widened => "widened",
        }
    }
}

/// The instruction that this machine uses: AMX where the processor has it and the operating system
/// permits it; else AVX512-BF16 on processors of AMD, since on those of Intel it takes twice as
/// long as `f32`; else widening.
pub fn instruction() -> Instruction {
    Choice::of_machine().instruction()
}

/// An [`Instruction`] with the proof that the machine has its instructions.
#[derive(Debug, Clone, Copy)]
enum Choice {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx(amx::Amx),
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16(avx512::Avx512Bf16),
    Widened,
}

impl Choice {
    fn of_machine() -> Self {
        static CHOICE: OnceLock<Choice> = OnceLock::new();
        *CHOICE.get_or_init(|| {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            if let Some(proof) = amx::Amx::detect() {
                return Self::Amx(proof);
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(proof) = avx512::Avx512Bf16::detect().filter(|_| avx512::of_amd()) {
                return Self::Avx512Bf16(proof);
            }
            Self::Widened
        })
    }

    fn instruction(self) -> Instruction {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx(_) => Instruction::Amx,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(_) => Instruction::Avx512Bf16,
            Self::Widened => Instruction::Widened,
        }
    }

    fn multiply<'a>(self, threads: Threads<'_>, products: impl IntoIterator<Item = Product<'a>>) {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx(kernel) => multiply(kernel, threads, products),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16(kernel) => multiply(kernel, threads, products),
            Self::Widened => multiply(widened::Widened, threads, products),
        }
    }
}

/// A weight rounded to bf16 and packed for [`forward`].
#[derive(Debug, Clone)]
pub struct PackedBf16 {
    tiles: Vec<Tile>,
    out: usize,
    width: usize,
}

impl PackedBf16 {
    /// Rounds and packs a weight.
    ///
    /// Shapes: `weight` (out, width).
    ///
    /// # Panics
    ///
    /// Panics when `weight` is empty.
    pub fn new(threads: Threads<'_>, weight: MatRef<'_>) -> Self {
        let (out, width) = (weight.rows(), weight.columns());
        assert!(out > 0 && width > 0, "a weight of ({out}, {width}): expected at least one number");
        let mut tiles = Vec::new();
        pack(threads, Operand::rows(weight), Layout::Vnni, &mut tiles);
        Self { tiles, out, width }
    }

    /// Rounds and packs a weight whose rows `rows` writes, some at a time: (rows, width).
    ///
    /// # Panics
    ///
    /// Panics when the weight, (`out`, `width`), is empty.
    pub(crate) fn of_rows(
        threads: Threads<'_>,
        (out, width): (usize, usize),
        rows: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) -> Self {
        assert!(out > 0 && width > 0, "a weight of ({out}, {width}): expected at least one number");
        let blocks = blocks(width);
        let mut tiles = vec![Tile::ZERO; out.div_ceil(GROUP) * blocks];
        threads.each_of(tiles.chunks_mut(AT_ONCE * blocks).enumerate(), |(part, tiles)| {
            let first = part * AT_ONCE * GROUP;
            let some = first..out.min(first + AT_ONCE * GROUP);
            let mut values = vec![0.0; some.len() * width];
            rows(some.clone(), &mut values);
            let values = MatRef::new(&values, some.len(), width);
            pack_groups(Operand::rows(values), Layout::Vnni, 0, tiles);
        });
        Self { tiles, out, width }
    }

    /// Features that it yields: rows of the weight.
    pub fn out(&self) -> usize {
        self.out
    }

    fn tiles(&self) -> Tiles<'_> {
        Tiles::new(&self.tiles, self.width)
    }
}

/// Groups of rows that [`PackedBf16::of_rows`] asks for at once.
const AT_ONCE: usize = 8;

thread_local! {
    /// Operands that are packed for one product, kept from product to product.
    static PACKED: RefCell<[Vec<Tile>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// A linear map and where its product goes.
#[derive(Debug)]
pub struct Bf16Map<'a> {
    /// (out, width)
    pub weight: &'a PackedBf16,
    /// (out), added to the sums.
    pub bias: Option<&'a [f32]>,
    /// (rows, out)
    pub y: Output<'a>,
}

/// `y (+)= x W^T + b` for maps of the same rows, which are packed once.
///
/// Shapes: `x` (rows, width).
///
/// # Panics
///
/// Panics when a shape does not fit.
pub fn forward<const N: usize>(threads: Threads<'_>, x: MatRef<'_>, maps: [Bf16Map<'_>; N]) {
    forward_with(Choice::of_machine(), threads, x, maps);
}

fn forward_with<const N: usize>(
    choice: Choice,
    threads: Threads<'_>,
    x: MatRef<'_>,
    maps: [Bf16Map<'_>; N],
) {
    let (rows, width) = (x.rows(), x.columns());
    for Bf16Map { weight, bias, y } in &maps {
        let shapes = [(y.rows(), y.columns()), (weight.out, weight.width)];
        let expected = [(rows, weight.out), (weight.out, width)];
        assert!(shapes == expected, "output and weight of {shapes:?}: expected {expected:?}");
        assert!(bias.is_none_or(|bias| bias.len() == weight.out), "a bias for each feature");
    }
    if rows == 0 {
        return;
    }
    let [mut a, b] = PACKED.take();
    let x = pack(threads, Operand::rows(x), Layout::Rows, &mut a);
    let products = maps.map(|Bf16Map { weight, bias, y }| {
        Product::new(x, weight.tiles(), Epilogue { scale: 1.0, bias }, y)
    });
    choice.multiply(threads, products);
    PACKED.set([a, b]);
}

/// Rows of `x` in a forward product, rounded and packed, for a weight that comes in tiles.
#[derive(Debug, Clone, Copy)]
pub(super) struct PackedRows<'a> {
    choice: Choice,
    x: Tiles<'a>,
}

/// Packs the rows of `x`.
pub(super) fn with_rows(threads: Threads<'_>, x: MatRef<'_>, work: impl FnOnce(PackedRows<'_>)) {
    if x.rows() > 0 {
        let [mut a, b] = PACKED.take();
        let x = pack(threads, Operand::rows(x), Layout::Rows, &mut a);
        // What the tasks pack on this thread is kept, too.
        PACKED.set([Vec::new(), b]);
        work(PackedRows { choice: Choice::of_machine(), x });
        PACKED.with_borrow_mut(|[buffer, _]| *buffer = a);
    }
}

impl PackedRows<'_> {
    /// `y (+)= x W^T + b`, on one thread; the weight is rounded and packed first.
    ///
    /// Shapes: `weight` (out, in), `bias` (out), `y` (rows, out).
    pub(super) fn multiply(self, weight: &[f32], bias: Option<&[f32]>, y: Output<'_>) {
        let [a, mut b] = PACKED.take();
        let weight = Operand::rows(MatRef::new(weight, y.columns(), self.x.terms()));
        let weight = pack(Threads::One, weight, Layout::Vnni, &mut b);
        let product = Product::new(self.x, weight, Epilogue { scale: 1.0, bias }, y);
        self.choice.multiply(Threads::One, [product]);
        PACKED.set([a, b]);
    }
}

/// `out (+)= scale * a b`, of operands that are packed for this product: the gradient in the rows
/// of a linear map is `dy W`, that in its weight `dy^T x`.
///
/// Shapes: `a` (rows, terms), `b` (terms, columns), `out` (rows, columns).
///
/// # Panics
///
/// Panics when a shape does not fit.
pub fn product(threads: Threads<'_>, scale: f32, a: MatRef<'_>, b: MatRef<'_>, out: Output<'_>) {
    product_with(Choice::of_machine(), threads, scale, a, b, out);
}

fn product_with(
    choice: Choice,
    threads: Threads<'_>,
    scale: f32,
    a: MatRef<'_>,
    b: MatRef<'_>,
    out: Output<'_>,
) {
    let (rows, columns) = (out.rows(), out.columns());
    let shapes = [(a.rows(), a.columns()), (b.rows(), b.columns())];
    let expected = [(rows, b.rows()), (a.columns(), columns)];
    assert!(shapes == expected, "operands of {shapes:?}: expected {expected:?}");
    if rows == 0 || columns == 0 {
        return;
    }
    let [mut a_tiles, mut b_tiles] = PACKED.take();
    let a = pack(threads, Operand::rows(a), Layout::Rows, &mut a_tiles);
    let b = pack(threads, Operand::columns(b), Layout::Vnni, &mut b_tiles);
    choice.multiply(threads, [Product::new(a, b, Epilogue { scale, bias: None }, out)]);
    PACKED.set([a_tiles, b_tiles]);
}
