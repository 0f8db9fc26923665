//! What probes and updates do to weights.

use kernels::matrix::{MatMut, MatRef};
use kernels::noise::low_rank;
use kernels::threads::Threads;
use optim::zeroth::{Direction, Mask, Noise, Scheme, TensorSpec, Term, Update, Vectors};
use proptest::prelude::*;

use super::{SIGNS, bits, perturbed, scheme, updated, vector, weights};

const LOW_RANK: Direction =
    Direction::LowRank { noise: Noise::Gaussian, rank: 2, vectors: Vectors::Dense };

fn matrix() -> TensorSpec {
    TensorSpec::new("m", [24, 40], true)
}

/// Every form of direction, with a tensor for it.
fn forms() -> Vec<(Direction, TensorSpec)> {
    let gaussian = Direction::Dense { noise: Noise::Gaussian };
    vec![
        (SIGNS, vector(960)),
        (Direction::Dense { noise: Noise::Binomial }, matrix()),
        (gaussian, vector(960).with_mask(Mask::magnitude(0.01))),
        (SIGNS, vector(960).with_mask(Mask::random(0.3).unwrap())),
        (LOW_RANK, matrix()),
        (LOW_RANK, vector(960)),
        (Direction::Coordinates, vector(960)),
    ]
}

fn update(scheme: &Scheme, step: u32, decay: f32) -> Update {
    let count = scheme.seeds(step, 5).len();
    let coefficients: Vec<f32> = (0..count).map(|n| 1e-3 * ((n % 5) as f32 - 1.0)).collect();
    scheme.update(step, 0.5, decay, &coefficients).unwrap()
}

#[test]
fn probes_leave_the_master_as_it_is() {
    for (direction, tensor) in forms() {
        let scheme = scheme(vec![tensor.clone()], direction);
        let master = weights(960);
        let before = bits(&master);
        for step in 0..300 {
            let seed = scheme.seeds(step, 1)[0];
            for scale in [1e-3, -1e-3] {
                let there =
                    perturbed(&scheme.probe(step, vec![Term { seed, scale }]), &tensor, &master);
                assert_ne!(bits(&there), before, "{direction:?}: the probe moves something");
            }
        }
        assert_eq!(bits(&master), before);
        let plain = perturbed(&scheme.probe(0, Vec::new()), &tensor, &master);
        assert_eq!(bits(&plain), before);
    }
}

#[test]
fn a_probe_is_the_update_of_its_terms_without_decay() {
    for (direction, tensor) in forms() {
        let scheme = scheme(vec![tensor.clone()], direction);
        let update = update(&scheme, 3, 0.0);
        let probe = scheme.probe(3, update.terms.clone());
        let from = weights(960);
        let got = bits(&perturbed(&probe, &tensor, &from));
        assert!(got == bits(&updated(&update, &tensor, &from)), "{direction:?}");
    }
}

/// Rows in any order, one of them twice, as an embedding's are.
#[test]
fn rows_have_the_bits_of_the_whole() {
    let random = matrix().with_mask(Mask::random(0.3).unwrap());
    let rows = [3_u32, 0, 23, 3, 7];
    let of_rows = |whole: &[f32]| -> Vec<f32> {
        rows.iter().flat_map(|row| whole[*row as usize * 40..][..40].to_vec()).collect()
    };
    let mut schemes = vec![(LOW_RANK, matrix()), (SIGNS, matrix()), (SIGNS, random)];
    schemes.push((Direction::Coordinates, matrix()));
    for (direction, tensor) in schemes {
        let mut scheme = scheme(vec![tensor.clone()], direction);
        scheme.decay_to = optim::zeroth::DecayTo::Start;
        let (update, from) = (update(&scheme, 3, 0.1), weights(960));
        let start: Vec<f32> = from.iter().map(|w| w - 0.25).collect();
        let probe = scheme.probe(3, update.terms.clone());
        for threads in [Threads::One, Threads::Pool] {
            let mut got = vec![f32::NAN; rows.len() * 40];
            probe.perturb_rows(threads, &tensor, &rows, &of_rows(&from), &mut got);
            assert_eq!(bits(&got), bits(&of_rows(&perturbed(&probe, &tensor, &from))));
            let mut got = of_rows(&from);
            update.apply_rows(threads, &tensor, &rows, &mut got, &of_rows(&start));
            let mut whole = from.clone();
            update.apply(threads, &tensor, 0, &mut whole, &start);
            assert_eq!(bits(&got), bits(&of_rows(&whole)), "{direction:?}");
        }
        probe.perturb_rows(Threads::One, &tensor, &[], &[], &mut []);
    }
}

#[test]
fn decay_is_one_product_before_the_terms_and_acts_without_any() {
    let (tensor, from) = (vector(960), weights(960));
    let scheme = scheme(vec![tensor.clone()], SIGNS);
    let factor = (1.0 - f64::from(0.3_f32) * f64::from(0.07_f32)) as f32;
    let decayed: Vec<f32> = from.iter().map(|w| w * factor).collect();
    let nothing = scheme.update(2, 0.3, 0.07, &[0.0, 0.0]).unwrap();
    assert_eq!(bits(&updated(&nothing, &tensor, &from)), bits(&decayed));
    let update = scheme.update(2, 0.3, 0.07, &[0.25, 0.0, -0.125]).unwrap();
    let without = scheme.update(2, 0.3, 0.0, &[0.25, 0.0, -0.125]).unwrap();
    let expected = updated(&without, &tensor, &decayed);
    assert_eq!(bits(&updated(&update, &tensor, &from)), bits(&expected));
    let norm = TensorSpec { decay: false, ..tensor };
    assert_eq!(bits(&updated(&update, &norm, &from)), bits(&updated(&without, &norm, &from)));
    // Zeros keep their sign: a coefficient of 0 adds nothing, not even 0.
    let zeros = vec![-0.0; 960];
    assert_eq!(bits(&updated(&nothing, &norm, &zeros)), bits(&zeros));
}

#[test]
fn decay_towards_the_start_moves_what_has_moved() {
    let (tensor, start) = (vector(960), weights(960));
    let mut scheme = scheme(vec![tensor.clone()], SIGNS);
    scheme.decay_to = optim::zeroth::DecayTo::Start;
    let moved: Vec<f32> = start.iter().map(|w| w + 0.5).collect();
    let update = scheme.update(0, 0.5, 0.5, &[]).unwrap();
    assert!(update.needs_start());
    let mut got = moved.clone();
    update.apply(Threads::Pool, &tensor, 0, &mut got, &start);
    let expected: Vec<f32> = moved.iter().zip(&start).map(|(w, w0)| w - 0.25 * (w - w0)).collect();
    assert_eq!(bits(&got), bits(&expected));
    let mut at_start = start.clone();
    update.apply(Threads::Pool, &tensor, 0, &mut at_start, &start);
    assert_eq!(bits(&at_start), bits(&start));
}

#[test]
fn elements_outside_a_mask_stay_as_they_are() {
    let from = weights(960);
    for mask in [Mask::magnitude(0.01), Mask::random(0.3).unwrap(), Mask::None] {
        let tensor = vector(960).with_mask(mask);
        let scheme = scheme(vec![tensor.clone()], SIGNS);
        let update = update(&scheme, 1, 0.5);
        let got = updated(&update, &tensor, &from);
        let whole = updated(&update, &vector(960), &from);
        let mut kept = 0;
        for i in 0..from.len() {
            let expected = if got[i].to_bits() == from[i].to_bits() { from[i] } else { whole[i] };
            assert_eq!(got[i].to_bits(), expected.to_bits());
            let moved = got[i].to_bits() != from[i].to_bits();
            kept += usize::from(moved);
            if mask == Mask::magnitude(0.01) {
                assert_eq!(moved, from[i].abs() <= 0.01, "element {i} is {}", from[i]);
            }
        }
        match mask {
            Mask::None => assert_eq!(kept, 0),
            Mask::Random { .. } => assert!((kept as f64 / 960.0 - 0.3).abs() < 0.06, "{kept}"),
            _ => assert!(kept > 100),
        }
    }
}

#[test]
fn members_of_a_step_and_steps_have_directions_of_their_own() {
    for direction in [SIGNS, LOW_RANK] {
        let scheme = scheme(vec![matrix()], direction);
        let zeros = vec![0.0; 960];
        let of = |step, member: usize| {
            let seed = scheme.seeds(step, 9)[member];
            perturbed(&scheme.probe(step, vec![Term { seed, scale: 1.0 }]), &matrix(), &zeros)
        };
        let own = of(0, 0);
        for (step, member) in [(0, 1), (0, 8), (1, 0), (2, 1)] {
            let other = of(step, member);
            let product: f64 =
                own.iter().zip(&other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((product / 960.0).abs() < 0.2, "step {step}, member {member}: {product}");
        }
        assert_eq!(bits(&of(0, 0)), bits(&own));
    }
}

#[test]
fn a_shared_factor_is_kept_for_its_steps() {
    let mut scheme = scheme(vec![matrix()], LOW_RANK);
    scheme.subspace_interval = Some(3);
    let factor = |step, member: usize| {
        let seed = scheme.seeds(step, 4)[member];
        let probe = scheme.probe(step, vec![Term { seed, scale: 1.0 }]);
        let (matrix, terms) = probe.low_rank(&matrix()).unwrap();
        (matrix.a(Threads::One, terms[0].a), matrix.b(Threads::One, terms[0].b))
    };
    let own = factor(3, 0);
    for (step, member) in [(3, 1), (4, 0), (5, 3)] {
        let other = factor(step, member);
        assert!(other.1 == own.1 && other.0 != own.0, "step {step}, member {member}");
    }
    assert!(factor(6, 0).1 != own.1);
    scheme.subspace_interval = None;
    let seeds = scheme.seeds(3, 2);
    assert_ne!(seeds[0], seeds[1]);
}

#[test]
fn noise_in_the_product_equals_noise_in_the_weights() {
    let scheme = scheme(vec![matrix(), vector(40)], LOW_RANK);
    let term = Term { seed: scheme.seeds(0, 1)[0], scale: 0.5 };
    let probe = scheme.probe(0, vec![term]);
    assert!(probe.low_rank(&vector(40)).is_none(), "a vector is perturbed densely");
    let (map, terms) = probe.low_rank(&matrix()).unwrap();
    let [low_rank::Term { a, b, scale }] = terms[..] else { panic!("one term") };
    let factors = [map.a(Threads::One, a), map.b(Threads::One, b)];
    let (from, x) = (weights(960), weights(3 * 40));
    let there = perturbed(&probe, &matrix(), &from);
    let product = |weight: &[f32], at: usize| -> f64 {
        let (row, out) = (at / 24, at % 24);
        (0..40).map(|i| f64::from(x[row * 40 + i]) * f64::from(weight[out * 40 + i])).sum()
    };
    let mut y: Vec<f32> = (0..3 * 24).map(|at| product(&from, at) as f32).collect();
    map.add_product(
        Threads::Pool,
        scale,
        MatRef::new(&x, 3, 40),
        factors.each_ref().map(Vec::as_slice),
        MatMut::new(&mut y, 3, 24),
    );
    let largest = (0..y.len()).map(|at| product(&there, at).abs()).fold(0.0, f64::max);
    for (at, got) in y.iter().enumerate() {
        let want = product(&there, at);
        assert!((f64::from(*got) - want).abs() < 1e-5 * largest, "{at}: {got}, want {want}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_slices_and_threads_give_the_bits_of_the_whole(
        form in 0..7_usize,
        step in 0..40_u32,
        decay in prop::sample::select(vec![0.0_f32, 0.1]),
        mut cuts in prop::collection::vec(0..960_usize, 0..7),
        threads in 1..4_usize,
    ) {
        let (direction, tensor) = forms().swap_remove(form);
        let scheme = scheme(vec![tensor.clone()], direction);
        let update = update(&scheme, step, decay);
        let probe = scheme.probe(step, vec![update.terms[0]]);
        let from = weights(960);
        let whole = [perturbed(&probe, &tensor, &from), updated(&update, &tensor, &from)];
        let (mut scratch, mut values) = (vec![0.0; 960], from.clone());
        cuts.extend([0, 960]);
        cuts.sort_unstable();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| for cut in cuts.windows(2).rev() {
            let (range, first) = (cut[0]..cut[1], cut[0] as u64);
            let to = &mut scratch[range.clone()];
            probe.perturb(Threads::Pool, &tensor, first, &from[range.clone()], to);
            update.apply(Threads::Pool, &tensor, first, &mut values[range], &[]);
        });
        prop_assert!(bits(&scratch) == bits(&whole[0]));
        prop_assert!(bits(&values) == bits(&whole[1]));
    }
}
