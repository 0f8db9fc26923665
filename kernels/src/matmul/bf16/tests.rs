//! Every microkernel against the emulation of its order of sums, to the bit, and against `f64`.

use super::emulate::{emulate, widen};
use super::round::round;
use super::*;
use crate::matrix::MatMut;
use crate::testing::{noise, on_every_form};
use crate::threads::with_team;

/// The microkernels that this machine has; says which are skipped.
fn choices() -> Vec<Choice> {
    let mut choices = vec![Choice::Widened];
    #[cfg(target_arch = "x86_64")]
    match avx512::Avx512Bf16::detect() {
        Some(proof) => choices.push(Choice::Avx512Bf16(proof)),
        None => eprintln!("skipped: this machine has no AVX512-BF16"),
    }
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    match amx::Amx::detect() {
        Some(proof) => choices.push(Choice::Amx(proof)),
        None => eprintln!("skipped: this machine has no AMX-BF16"),
    }
    choices
}

/// Runs `test` on the calling thread alone, on a pool of two, and on a team of two.
fn on_one_and_two_threads(test: impl Fn(Threads<'_>) + Sync) {
    test(Threads::One);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        test(Threads::Pool);
        with_team(&test);
    });
}

fn rounded(matrix: MatRef<'_>) -> Vec<Vec<u16>> {
    let (row, column) = (matrix.row_stride(), matrix.column_stride());
    let number = |i: usize, t: usize| round(matrix.values()[i * row + t * column]);
    (0..matrix.rows()).map(|i| (0..matrix.columns()).map(|t| number(i, t)).collect()).collect()
}

/// Compares `a b`, added to `start`, with the emulation and with `f64`.
fn check(
    instruction: Instruction,
    what: &str,
    a: MatRef<'_>,
    b: MatRef<'_>,
    start: &[f32],
    got: &[f32],
) {
    let (rows, columns) = (rounded(a), rounded(b.t()));
    for (at, (&got, &start)) in got.iter().zip(start).enumerate() {
        let (row, column) = (&rows[at / columns.len()], &columns[at % columns.len()]);
        let product = emulate(instruction, row, column);
        // A product of -0 is replaced by 0 where it is added to 0, not where it is set.
        let want = if start == 0.0 { product } else { start + product };
        let what = || format!("{instruction:?}, {what}, element {at}: got {got:e}");
        let equal = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(equal, "{}, emulated {want:e}", what());
        let products =
            row.iter().zip(column).map(|(&a, &b)| f64::from(widen(a)) * f64::from(widen(b)));
        let (sum, magnitude) = products.fold((0.0, 0.0), |(sum, all), x| (sum + x, all + x.abs()));
        let (sum, magnitude) = (sum + f64::from(start), magnitude + f64::from(start.abs()));
        if sum.is_finite() {
            // One rounding for each term and three more, each relative to a partial sum; and what
            // flushing subnormal numbers loses.
            let roundings = row.len() as f64 + 3.0;
            let bound = roundings * (f64::from(f32::EPSILON) / 2.0 * magnitude + 1.2e-38);
            let off = (f64::from(got) - sum).abs();
            assert!(off <= bound, "{}, expected {sum:e}, off by {off:e}", what());
        }
    }
}

fn output(add: bool, to: MatMut<'_>) -> Output<'_> {
    if add { Output::add(to) } else { Output::set(to) }
}

fn plain<'a>(weight: &'a PackedBf16, y: MatMut<'a>) -> Bf16Map<'a> {
    Bf16Map { weight, bias: None, y: Output::set(y) }
}

/// The three products of one linear map, set and added.
fn check_map(
    choice: Choice,
    threads: Threads<'_>,
    rows: usize,
    (out, width): (usize, usize),
    values: impl Fn(u32, usize) -> Vec<f32>,
) {
    let (instruction, what) = (choice.instruction(), format!("{rows} rows of ({out}, {width})"));
    let (x, w, dy) = (values(1, rows * width), values(2, out * width), values(3, rows * out));
    let (x, w) = (MatRef::new(&x, rows, width), MatRef::new(&w, out, width));
    let dy = MatRef::new(&dy, rows, out);
    let packed = PackedBf16::new(threads, w);
    for add in [false, true] {
        let start = |len| if add { values(4, len) } else { vec![0.0; len] };
        let before = |start: &[f32]| if add { start.to_vec() } else { vec![f32::NAN; start.len()] };
        let start_y = start(rows * out);
        let mut y = before(&start_y);
        let to = output(add, MatMut::new(&mut y, rows, out));
        forward_with(choice, threads, x, [Bf16Map { weight: &packed, bias: None, y: to }]);
        check(instruction, &format!("y, {what}"), x, w.t(), &start_y, &y);
        for (name, a, b) in [("dx", dy, w), ("dw", dy.t(), x)] {
            let start = start(a.rows() * b.columns());
            let mut got = before(&start);
            let to = output(add, MatMut::new(&mut got, a.rows(), b.columns()));
            product_with(choice, threads, 1.0, a, b, to);
            check(instruction, &format!("{name}, {what}"), a, b, &start, &got);
        }
    }
}

const ROWS: [usize; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 31, 32, 33, 48, 128, 300];

/// (out, width)
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (16, 31), (50, 70), (17, 33), (64, 96), (130, 65), (192, 576), (35, 2100), (49, 32)];

fn check_all_maps(choice: Choice) {
    on_one_and_two_threads(|threads| {
        for rows in ROWS {
            for shape in SHAPES {
                if rows * shape.0 * shape.1 < 1_000_000 {
                    check_map(choice, threads, rows, shape, noise);
                }
            }
        }
        check_map(choice, threads, 9, (576, 1536), noise);
    });
}

#[test]
fn every_kernel_equals_its_emulation_to_the_bit() {
    choices().into_iter().for_each(check_all_maps);
}

#[test]
fn the_widened_kernel_has_the_same_bits_in_every_form() {
    on_every_form(|| {
        for rows in [1, 2, 3, 5, 8, 17, 33] {
            check_map(Choice::Widened, Threads::Pool, rows, (50, 70), noise);
            check_map(Choice::Widened, Threads::One, rows, (17, 33), noise);
        }
    });
}

/// Numbers whose products and sums are around the smallest normal number, and some that are
/// subnormal.
fn tiny(seed: u32, len: usize) -> Vec<f32> {
    let scale = |i| [2e-19, 1e-19, 3e-20, 1e-38, 1e-39][i % 5];
    noise(seed, len).into_iter().enumerate().map(|(i, x)| x * scale(i)).collect()
}

#[test]
fn subnormal_numbers_are_taken_as_the_instructions_take_them() {
    for choice in choices() {
        check_map(choice, Threads::One, 17, (33, 70), tiny);
        check_map(choice, Threads::One, 3, (20, 16), tiny);
    }
}

/// Some NaN and infinite numbers among others.
fn wild(seed: u32, len: usize) -> Vec<f32> {
    let mut values = noise(seed, len);
    for (i, value) in values.iter_mut().enumerate().filter(|(i, _)| i % 101 == 50) {
        *value = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX][i / 101 % 4];
    }
    values
}

#[test]
fn nan_and_infinity_reach_their_outputs_and_no_others() {
    for choice in choices() {
        // What is left in the buffers is then NaN.
        check_map(choice, Threads::One, 40, (100, 120), |_, len| vec![f32::NAN; len]);
        check_map(choice, Threads::One, 17, (33, 70), wild);
        check_map(choice, Threads::One, 3, (20, 17), noise);
    }
}

#[test]
fn a_row_does_not_depend_on_the_others_or_on_the_threads() {
    let (out, width) = (130, 70);
    let (x, w) = (noise(1, 300 * width), noise(2, out * width));
    for choice in choices() {
        let forward = |rows, threads: Threads<'_>| {
            let packed = PackedBf16::new(threads, MatRef::new(&w, out, width));
            let mut y = vec![0.0; rows * out];
            let (x, to) =
                (MatRef::new(&x[..rows * width], rows, width), MatMut::new(&mut y, rows, out));
            forward_with(choice, threads, x, [plain(&packed, to)]);
            y
        };
        let all = forward(300, Threads::One);
        on_one_and_two_threads(|threads| {
            for rows in ROWS {
                assert_eq!(forward(rows, threads), all[..rows * out], "{choice:?}, {rows} rows");
            }
        });
    }
}

#[test]
fn several_weights_of_the_same_rows_are_as_one_by_one() {
    let (rows, width, outs) = (19, 70, [64, 50, 7]);
    let x = noise(1, rows * width);
    let x = MatRef::new(&x, rows, width);
    let weights = outs.map(|out| {
        let values = noise(out as u32, out * width);
        PackedBf16::new(Threads::One, MatRef::new(&values, out, width))
    });
    let mut alone = outs.map(|out| vec![0.0; rows * out]);
    for ((y, weight), out) in alone.iter_mut().zip(&weights).zip(outs) {
        forward(Threads::One, x, [plain(weight, MatMut::new(y, rows, out))]);
    }
    on_one_and_two_threads(|threads| {
        let mut together = outs.map(|out| vec![0.0; rows * out]);
        let mut ys = together.iter_mut().zip(outs).map(|(y, out)| MatMut::new(y, rows, out));
        let products = weights.each_ref().map(|w| plain(w, ys.next().unwrap()));
        forward(threads, x, products);
        assert_eq!(together, alone);
    });
}

#[test]
fn scale_and_bias_come_after_the_sum_and_before_the_addition() {
    let (rows, out, width) = (19, 50, 70);
    let (x, w, bias) = (noise(1, rows * width), noise(2, out * width), noise(3, out));
    let (x, w) = (MatRef::new(&x, rows, width), MatRef::new(&w, out, width));
    let packed = PackedBf16::new(Threads::One, w);
    for choice in choices() {
        let (mut sums, start) = (vec![0.0; rows * out], noise(4, rows * out));
        let to = MatMut::new(&mut sums, rows, out);
        forward_with(choice, Threads::One, x, [plain(&packed, to)]);
        for add in [false, true] {
            let start = |i: usize| if add { start[i] } else { 0.0 };
            let mut y: Vec<f32> = (0..rows * out).map(start).collect();
            let to = output(add, MatMut::new(&mut y, rows, out));
            let map = Bf16Map { weight: &packed, bias: Some(&bias), y: to };
            forward_with(choice, Threads::Pool, x, [map]);
            let want = |i: usize| start(i) + (sums[i] + bias[i % out]);
            assert_eq!(y, (0..rows * out).map(want).collect::<Vec<_>>(), "{choice:?}");
            let mut y: Vec<f32> = (0..rows * out).map(start).collect();
            let to = output(add, MatMut::new(&mut y, rows, out));
            product_with(choice, Threads::Pool, 0.7, x, w.t(), to);
            let want = |i: usize| start(i) + 0.7 * sums[i];
            assert_eq!(y, (0..rows * out).map(want).collect::<Vec<_>>(), "{choice:?}");
        }
    }
}

#[test]
fn an_output_with_a_stride_keeps_what_lies_between_its_rows() {
    for choice in choices() {
        let (a, b) = (noise(1, 20 * 33), noise(2, 33 * 50));
        let (a, b) = (MatRef::new(&a, 20, 33), MatRef::new(&b, 33, 50));
        let (mut tight, mut wide) = (vec![0.0; 20 * 50], vec![7.0; 20 * 60]);
        product_with(choice, Threads::One, 1.0, a, b, Output::set(MatMut::new(&mut tight, 20, 50)));
        let to = MatMut::strided(&mut wide, 20, 50, 60);
        product_with(choice, Threads::One, 1.0, a, b, Output::set(to));
        for (wide, tight) in wide.chunks(60).zip(tight.chunks(50)) {
            assert_eq!(wide[..50], *tight);
            assert_eq!(wide[50..], [7.0; 10]);
        }
    }
}

#[test]
fn products_of_nothing_are_zeros_or_nothing() {
    for choice in choices() {
        let mut to = vec![f32::NAN; 6];
        let (a, b) = (MatRef::new(&[], 2, 0), MatRef::new(&[], 0, 3));
        product_with(choice, Threads::One, 1.0, a, b, Output::set(MatMut::new(&mut to, 2, 3)));
        assert_eq!(to, [0.0; 6]);
        let packed = PackedBf16::new(Threads::One, MatRef::new(&[1.0; 6], 2, 3));
        let y = plain(&packed, MatMut::new(&mut [], 0, 2));
        forward_with(choice, Threads::One, MatRef::new(&[], 0, 3), [y]);
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let refused = |work: &dyn Fn()| {
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    };
    let numbers = vec![1.0; 64];
    let matrix = |rows, columns| MatRef::new(&numbers[..rows * columns], rows, columns);
    let packed = PackedBf16::new(Threads::One, matrix(4, 8));
    let run = |x, rows, columns| {
        let mut y = vec![0.0; rows * columns];
        forward(Threads::One, x, [plain(&packed, MatMut::new(&mut y, rows, columns))]);
    };
    run(matrix(2, 8), 2, 4);
    refused(&|| run(matrix(2, 7), 2, 4));
    refused(&|| run(matrix(2, 8), 3, 4));
    refused(&|| run(matrix(2, 8), 2, 5));
    refused(&|| drop(PackedBf16::new(Threads::One, matrix(0, 4))));
    let run = |a, b, rows, columns| {
        let mut y = vec![0.0; rows * columns];
        product(Threads::One, 1.0, a, b, Output::set(MatMut::new(&mut y, rows, columns)));
    };
    run(matrix(2, 3), matrix(3, 5), 2, 5);
    refused(&|| run(matrix(2, 3), matrix(4, 5), 2, 5));
    refused(&|| run(matrix(2, 3), matrix(3, 5), 3, 5));
    refused(&|| run(matrix(2, 3), matrix(3, 5), 2, 4));
}

#[test]
fn the_instruction_is_one_that_the_machine_has() {
    let used = instruction();
    assert!(choices().iter().any(|choice| choice.instruction() == used), "{}", used.name());
    assert_eq!(instruction(), used);
}

/// Runs the code of AMX whether or not the processor has it. On one without, the process must
/// emulate the instructions in a handler of SIGILL; else this test ends the process.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[test]
#[ignore = "needs AMX or an emulator of its instructions"]
fn amx_equals_its_emulation_wherever_its_instructions_run() {
    let amx = Choice::Amx(amx::Amx::assumed());
    check_all_maps(amx);
    check_map(amx, Threads::One, 17, (33, 70), tiny);
    check_map(amx, Threads::One, 40, (100, 120), |_, len| vec![f32::NAN; len]);
    check_map(amx, Threads::One, 17, (33, 70), wild);
}
