mod factors;
mod statistics;

use proptest::prelude::*;
use rand_philox::philox4x32_10;

use super::*;
use crate::testing::{bits, on_every_form, same_on_every_form};
use crate::threads::with_team;

pub(super) const KINDS: [Kind; 3] = [Kind::Rademacher, Kind::Binomial, Kind::Gaussian];

/// The stream of the golden values.
const GOLDEN: Stream = Stream { seed: 42, tensor: 7, part: Part::Dense };

/// A word by the crate `rand_philox`, which shares no code with ours.
fn reference_word(stream: Stream, index: u64) -> u32 {
    let block = index / 4;
    let counter = [block as u32, (block >> 32) as u32, stream.tensor, stream.part as u32];
    philox4x32_10(counter, [stream.seed as u32, (stream.seed >> 32) as u32])[(index % 4) as usize]
}

/// Element `index` by itself.
fn reference(kind: Kind, stream: Stream, index: u64) -> f32 {
    match kind {
        Kind::Rademacher => {
            let word = reference_word(stream, index / 32);
            if word >> (index % 32) & 1 == 1 { -1.0 } else { 1.0 }
        }
        Kind::Binomial => {
            let ones = reference_word(stream, index).count_ones();
            (f64::from(ones) - 16.0) as f32 * 0.125_f32.sqrt()
        }
        Kind::Gaussian => {
            let uniform = |index| {
                let word = reference_word(stream, index);
                ((word >> 8) as f32 + 0.5) / 2.0_f32.powi(24)
            };
            let pair = index & !1;
            let radius = (-2.0 * libm::logf(uniform(pair))).sqrt();
            let angle = std::f32::consts::TAU * uniform(pair + 1);
            radius * if index == pair { libm::cosf(angle) } else { libm::sinf(angle) }
        }
    }
}

fn filled(kind: Kind, stream: Stream, first: u64, len: usize) -> Vec<f32> {
    let mut to = vec![f32::NAN; len];
    fill(Threads::One, kind, stream, first, &mut to);
    to
}

#[test]
fn the_generator_gives_its_known_answers() {
    for (counter, key, answer) in [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ] {
        let lanes = philox::encrypt(key, counter.map(|word: u32| [word; BLOCKS]));
        assert_eq!(lanes, answer.map(|word: u32| [word; BLOCKS]));
    }
}

#[test]
fn the_layout_of_a_stream_never_changes() {
    let mut first_words = [0; 8];
    words(GOLDEN, 0, &mut first_words);
    let expected = [0x67ee_6f2c, 0xe554_10cc, 0x6c7e_ca35, 0x5573_98d3];
    assert_eq!(first_words[..4], expected);
    assert_eq!(first_words[4..], [0xe5dd_e940, 0x600f_6196, 0x8fcd_f8f1, 0x2c8e_d839]);
    let signs: String = filled(Kind::Rademacher, GOLDEN, 0, 16)
        .into_iter()
        .map(|z| if z.is_sign_positive() { '+' } else { '-' })
        .collect();
    assert_eq!(signs, "++--+-++----+--+");
    let sum: f32 = filled(Kind::Rademacher, GOLDEN, 0, 1 << 20).iter().sum();
    assert_eq!(sum.to_bits(), (-1024.0_f32).to_bits());
    // 1.4142135, -1.0606601, 0.70710677 and 0.35355338.
    let binomial = [0x3fb5_04f3, 0xbf87_c3b6, 0x3f35_04f3, 0x3eb5_04f3];
    assert_eq!(bits(&filled(Kind::Binomial, GOLDEN, 0, 4)), binomial);
    let gaussian = [
        0x3f88_56dd,
        0xbf51_494b,
        0xbf28_9032,
        0x3f91_01bf,
        0xbea8_419c,
        0x3ea7_c2c3,
        0x3efc_8bd8,
        0x3f74_3a53,
    ];
    assert_eq!(bits(&filled(Kind::Gaussian, GOLDEN, 0, 8)), gaussian);
}

#[test]
fn every_element_is_that_of_the_reference_on_every_form() {
    on_every_form(|| {
        for kind in KINDS {
            for first in [0, 1, 2047, (1 << 32) - 5, (1 << 39) - 3, u64::MAX - 9000] {
                let got = filled(kind, GOLDEN, first, 5000);
                let want: Vec<f32> =
                    (0..5000).map(|i| reference(kind, GOLDEN, first + i)).collect();
                assert!(bits(&got) == bits(&want), "{kind:?} from {first} on");
            }
        }
        let mut got = [0; 300];
        words(GOLDEN, (1 << 34) - 77, &mut got);
        for (index, word) in ((1 << 34) - 77..).zip(got) {
            assert_eq!(word, reference_word(GOLDEN, index));
        }
    });
}

#[test]
fn noise_is_added_with_one_rounding_for_each_operation() {
    same_on_every_form(|| {
        let from: Vec<f32> = filled(Kind::Gaussian, Stream { seed: 1, ..GOLDEN }, 0, 9000);
        KINDS.map(|kind| {
            let (first, c) = ((1 << 33) + 11, -0.003_141_7);
            let mut to = vec![0.0; from.len()];
            add(Threads::One, kind, GOLDEN, first, c, &from, &mut to);
            let z = filled(kind, GOLDEN, first, from.len());
            let want: Vec<f32> = from.iter().zip(&z).map(|(w, z)| w + c * z).collect();
            assert_eq!(bits(&to), bits(&want), "{kind:?}");
            let mut in_place = from.clone();
            add_in_place(Threads::One, kind, GOLDEN, first, c, &mut in_place);
            assert_eq!(bits(&in_place), bits(&want), "{kind:?} in place");
            bits(&to)
        })
    });
}

#[test]
fn threads_and_teams_give_the_same_bits() {
    for kind in KINDS {
        let len = 3 * TASK + 1234;
        let first = (1 << 35) + 4321;
        let want = bits(&filled(kind, GOLDEN, first, len));
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut got = vec![0.0; len];
                fill(Threads::Pool, kind, GOLDEN, first, &mut got);
                assert_eq!(bits(&got), want, "{kind:?} with {threads} threads");
                let mut got = vec![-0.0; len];
                with_team(|team| add_in_place(team, kind, GOLDEN, first, 1.0, &mut got));
                assert_eq!(bits(&got), want, "{kind:?} with a team of {threads}");
            });
        }
    }
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let stream = GOLDEN;
    let unequal = std::panic::catch_unwind(|| {
        add(Threads::One, Kind::Rademacher, stream, 0, 1.0, &[0.0; 3], &mut [0.0; 2]);
    });
    assert!(unequal.is_err());
    let beyond = std::panic::catch_unwind(|| {
        fill(Threads::One, Kind::Rademacher, stream, u64::MAX, &mut [0.0; 2]);
    });
    assert!(beyond.is_err());
    fill(Threads::One, Kind::Rademacher, stream, u64::MAX, &mut []);
}

fn any_stream() -> impl Strategy<Value = Stream> {
    let part = prop::sample::select(vec![Part::Dense, Part::A, Part::B, Part::Mask]);
    (any::<u64>(), any::<u32>(), part).prop_map(|(seed, tensor, part)| Stream {
        seed,
        tensor,
        part,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_slice_is_that_of_the_whole(
        kind in prop::sample::select(KINDS.to_vec()),
        stream in any_stream(),
        first in prop_oneof![0..10_000_u64, (1_u64 << 32)..(1 << 50)],
        mut cuts in prop::collection::vec(0..20_000_usize, 0..12),
        c in -2.0_f32..2.0,
    ) {
        let len = 20_000;
        let from = filled(Kind::Gaussian, GOLDEN, 0, len);
        let mut whole = vec![0.0; len];
        add(Threads::Pool, kind, stream, first, c, &from, &mut whole);
        cuts.extend([0, len]);
        cuts.sort_unstable();
        let mut sliced = vec![0.0; len];
        for cut in cuts.windows(2) {
            let (start, to) = (cut[0], &mut sliced[cut[0]..cut[1]]);
            let from = &from[cut[0]..cut[1]];
            add(Threads::One, kind, stream, first + start as u64, c, from, to);
        }
        prop_assert!(bits(&sliced) == bits(&whole));
        let at = cuts[cuts.len() / 2].min(len - 1);
        let z = reference(kind, stream, first + at as u64);
        prop_assert_eq!(whole[at].to_bits(), (from[at] + c * z).to_bits());
    }
}
