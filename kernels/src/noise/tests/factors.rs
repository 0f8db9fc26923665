//! Noise of low rank.

use proptest::prelude::*;

use super::KINDS;
use crate::matrix::{MatMut, MatRef};
use crate::noise::Kind;
use crate::noise::low_rank::{Matrix, Term};
use crate::testing::{bits, noise, on_every_form, same_on_every_form, worst};
use crate::threads::Threads;

fn matrix(rows: usize, columns: usize, rank: usize) -> Matrix {
    Matrix { tensor: 9, rows, columns, rank, kind: Kind::Gaussian }
}

fn terms(count: u32) -> Vec<Term> {
    (0..count)
        .map(|n| Term { a: u64::from(n), b: 1000 + u64::from(n), scale: 0.001 * (n as f32 - 3.3) })
        .collect()
}

/// What `add` adds to one element: the chain that its documentation states.
fn element(matrix: &Matrix, terms: &[Term], row: usize, column: usize) -> f32 {
    let mut sum = 0.0_f32;
    for term in terms {
        let [a, b] = [matrix.a(Threads::One, term.a), matrix.b(Threads::One, term.b)];
        let scale = term.scale / (matrix.rank as f32).sqrt();
        for rank in 0..matrix.rank {
            let a = scale * a[rank * matrix.rows + row];
            sum = a.mul_add(b[rank * matrix.columns + column], sum);
        }
    }
    sum
}

#[test]
fn an_update_is_the_chain_of_its_terms_on_every_form() {
    same_on_every_form(|| {
        let (matrix, terms) = (matrix(19, 33, 2), terms(5));
        let start = noise(1, 19 * 33);
        let mut values = start.clone();
        matrix.add(Threads::Pool, &terms, 0, &mut values);
        for (row, column) in [(0, 0), (7, 15), (18, 32), (3, 16)] {
            let at = row * 33 + column;
            let want = start[at] + element(&matrix, &terms, row, column);
            assert_eq!(values[at].to_bits(), want.to_bits(), "row {row}, column {column}");
        }
        bits(&values)
    });
}

#[test]
fn slices_of_prepared_noise_have_the_bits_of_the_whole() {
    let (matrix, terms) = (matrix(19, 33, 2), terms(5));
    let start = noise(1, 19 * 33);
    let mut whole = start.clone();
    matrix.add(Threads::Pool, &terms, 0, &mut whole);
    let prepared = matrix.prepared(Threads::One, &terms);
    for slice in [1, 7, 33, 50, 400] {
        let mut values = start.clone();
        for (i, values) in values.chunks_mut(slice).enumerate() {
            prepared.add(Threads::One, (i * slice) as u64, values);
        }
        assert!(bits(&values) == bits(&whole), "slices of {slice}");
    }
    matrix.prepared(Threads::One, &[]).add(Threads::One, 0, &mut whole);
}

#[test]
fn an_update_of_many_members_is_the_sum_of_their_outer_products() {
    let (matrix, terms) = (matrix(70, 50, 1), terms(32));
    let mut values = vec![0.0; 70 * 50];
    matrix.add(Threads::Pool, &terms, 0, &mut values);
    let factors: Vec<_> = terms
        .iter()
        .map(|term| (term.scale, matrix.a(Threads::One, term.a), matrix.b(Threads::One, term.b)))
        .collect();
    let want = (0..70 * 50).map(|at| {
        let product = |(scale, a, b): &(f32, Vec<f32>, Vec<f32>)| {
            f64::from(*scale) * f64::from(a[at / 50]) * f64::from(b[at % 50])
        };
        factors.iter().map(product).sum()
    });
    assert!(worst(&values, want) < 1e-6);
}

#[test]
fn noise_in_the_product_equals_noise_in_the_weight() {
    on_every_form(|| {
        for (rows, rank) in [(1, 1), (3, 1), (8, 2), (70, 5)] {
            for kind in KINDS {
                let matrix = Matrix { kind, ..matrix(96, 160, rank) };
                let term = Term { a: 5, b: 6, scale: 0.25 };
                let mut weight = vec![0.0; 96 * 160];
                matrix.add(Threads::Pool, &[term], 0, &mut weight);
                let x = noise(2, rows * 160);
                let mut y = noise(3, rows * 96);
                let want: Vec<f64> = (0..rows * 96)
                    .map(|at| {
                        let (row, out) = (at / 96, at % 96);
                        let product = |i| f64::from(x[row * 160 + i] * weight[out * 160 + i]);
                        f64::from(y[at]) + (0..160).map(product).sum::<f64>()
                    })
                    .collect();
                let factors = [matrix.a(Threads::One, term.a), matrix.b(Threads::One, term.b)];
                matrix.add_product(
                    Threads::Pool,
                    term.scale,
                    MatRef::new(&x, rows, 160),
                    factors.each_ref().map(Vec::as_slice),
                    MatMut::new(&mut y, rows, 96),
                );
                assert!(worst(&y, want) < 1e-5, "{rows} rows, rank {rank}, {kind:?}");
            }
        }
    });
}

#[test]
fn elements_outside_the_matrix_are_refused() {
    let add = |first, len| matrix(3, 4, 1).add(Threads::One, &terms(1), first, &mut vec![0.0; len]);
    add(0, 12);
    add(12, 0);
    assert!(std::panic::catch_unwind(|| add(1, 12)).is_err());
    assert!(std::panic::catch_unwind(|| add(u64::MAX, 1)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_slice_of_an_update_is_that_of_the_whole(
        rows in 1..24_usize,
        columns in 1..40_usize,
        rank in 1..4_usize,
        members in 1..7_u32,
        mut cuts in prop::collection::vec(0..960_usize, 0..6),
    ) {
        let (matrix, terms) = (matrix(rows, columns, rank), terms(members));
        let len = rows * columns;
        let start = noise(7, len);
        let mut whole = start.clone();
        matrix.add(Threads::Pool, &terms, 0, &mut whole);
        let mut sliced = start;
        cuts.extend([0, len]);
        cuts.retain(|cut| *cut <= len);
        cuts.sort_unstable();
        for cut in cuts.windows(2) {
            matrix.add(Threads::One, &terms, cut[0] as u64, &mut sliced[cut[0]..cut[1]]);
        }
        prop_assert!(bits(&sliced) == bits(&whole));
    }
}
