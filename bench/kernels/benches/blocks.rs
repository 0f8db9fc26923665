//! Matrices in the blocks of GGUF files, at the sizes of SmolLM2-135M: decoding on one thread, and
//! products on all of them beside those of the same matrix in `f32`.
//!
//! `item/s` are decoded values, or floating-point operations of products, a multiply-add counted as
//! two.

use divan::Bencher;
use divan::counter::ItemsCount;
use kernels::MatmulPrecision;
use kernels::blocks::{Format, decode};
use kernels::linear::{BlockMatrix, Linear, Matrix, linear};
use kernels::threads::Threads;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WIDTH: usize = 1536;
const OUT: usize = 576;
const ROWS: [usize; 7] = [1, 4, 8, 16, 32, 128, 700];

fn main() {
    divan::main();
}

/// Pseudo-random bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// Blocks whose scales and minima are 1/64: any other byte is a number of them.
fn blocks(format: Format) -> Vec<u8> {
    let mut bytes = noise(format.bytes(OUT * WIDTH).expect("whole blocks"));
    let halves: &[usize] = match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
        Format::Q2K => &[80, 82],
        Format::Q3K => &[108],
        Format::Q6K => &[208],
        // Values below 2 in magnitude.
        Format::F16 | Format::Bf16 => {
            bytes.iter_mut().skip(1).step_by(2).for_each(|byte| *byte &= 0xBF);
            &[]
        }
        Format::F32 => {
            bytes.iter_mut().skip(3).step_by(4).for_each(|byte| *byte &= 0xBF);
            &[]
        }
    };
    for block in bytes.chunks_mut(format.block().1) {
        for &at in halves {
            block[at..at + 2].copy_from_slice(&0x2400_u16.to_le_bytes());
        }
    }
    bytes
}

/// Into a tile that stays in a near cache.
#[divan::bench(args = Format::ALL)]
fn decoding(bencher: Bencher<'_, '_>, format: Format) {
    const ROWS: usize = 16;
    let bytes = blocks(format);
    let part = format.bytes(ROWS * WIDTH).expect("whole blocks");
    let mut tile = vec![0.0; ROWS * WIDTH];
    bencher.counter(ItemsCount::new(OUT * WIDTH)).bench_local(|| {
        bytes.chunks_exact(part).for_each(|bytes| decode(format, bytes, &mut tile));
    });
}

/// `x W^T` on all threads.
#[divan::bench_group]
mod product {
    use super::*;

    fn forward(bencher: Bencher<'_, '_>, weight: Matrix<'_>, rows: usize) {
        let x: Vec<f32> = noise(rows * WIDTH).iter().map(|&byte| f32::from(byte) / 256.0).collect();
        let mut y = vec![0.0; rows * OUT];
        bencher.counter(ItemsCount::new(2 * rows * OUT * WIDTH)).bench_local(|| {
            linear(Threads::Pool, &x, Linear::plain(weight), rows, &mut y);
        });
    }

    #[divan::bench(args = ROWS)]
    fn of_f32(bencher: Bencher<'_, '_>, rows: usize) {
        let bytes = blocks(Format::Q4_1);
        let mut values = vec![0.0; OUT * WIDTH];
        decode(Format::Q4_1, &bytes, &mut values);
        forward(bencher, Matrix::F32(&values), rows);
    }

    #[divan::bench(args = ROWS)]
    fn of_q4_1(bencher: Bencher<'_, '_>, rows: usize) {
        stored(bencher, Format::Q4_1, rows);
    }

    #[divan::bench(args = ROWS)]
    fn of_q4_k(bencher: Bencher<'_, '_>, rows: usize) {
        stored(bencher, Format::Q4K, rows);
    }

    fn stored(bencher: Bencher<'_, '_>, format: Format, rows: usize) {
        let bytes = blocks(format);
        let matrix = BlockMatrix::new(format, &bytes, OUT, WIDTH);
        forward(bencher, Matrix::Blocks(matrix, MatmulPrecision::F32), rows);
    }
}
