//! Which elements are trained.

use optim::zeroth::{Direction, Mask, TensorSpec};

use super::{SIGNS, scheme, weights};

#[test]
fn the_smallest_elements_are_those_up_to_a_threshold() {
    let values = [0.5, -0.1, 0.0, -4.0, 0.2, 3.0, -0.3, 0.4];
    assert_eq!(Mask::smallest(&values, 0.5).unwrap(), Mask::magnitude(0.3));
    assert_eq!(Mask::smallest(&values, 0.01).unwrap(), Mask::magnitude(0.0));
    assert_eq!(Mask::smallest(&values, 1.0).unwrap(), Mask::All);
    for keep in [0.0, -1.0, 1.1, f64::NAN] {
        assert!(Mask::smallest(&values, keep).is_err(), "{keep}");
    }
    assert!(Mask::smallest(&[1.0, f32::NAN], 0.5).is_err());
    // None is smaller than another: a threshold would keep all now, and none once they have moved.
    for equal in [[0.0, -0.0, 0.0, 0.0], [0.5, -0.5, 0.5, 0.5]] {
        assert_eq!(Mask::smallest(&equal, 0.25).unwrap(), Mask::random(0.25).unwrap());
    }
    let values = weights(1000);
    let Mask::Magnitude { bits } = Mask::smallest(&values, 0.25).unwrap() else { panic!() };
    let kept = values.iter().filter(|value| value.abs() <= f32::from_bits(bits)).count();
    assert_eq!(kept, 250);
}

#[test]
fn shares_are_those_that_are_asked_for() {
    assert_eq!(Mask::random(0.0).unwrap(), Mask::None);
    assert_eq!(Mask::random(1e-12).unwrap(), Mask::None);
    assert_eq!(Mask::random(1.0).unwrap(), Mask::All);
    assert_eq!(Mask::random(0.5).unwrap(), Mask::Random { share: 1 << 31 });
    assert!(Mask::random(1.5).is_err());
    assert!(Mask::random(f64::NAN).is_err());
}

#[test]
fn masks_that_a_direction_does_not_have_are_refused() {
    let low_rank = Direction::LowRank {
        noise: optim::zeroth::Noise::Gaussian,
        rank: 1,
        vectors: optim::zeroth::Vectors::Dense,
    };
    let problems = |direction, mask| {
        let tensor = TensorSpec::new("m", [4, 5], true).with_mask(mask);
        scheme(vec![tensor], direction).problems()
    };
    let random = Mask::random(0.5).unwrap();
    assert!(problems(low_rank, random)[0].starts_with("m: "));
    assert!(problems(Direction::Coordinates, Mask::magnitude(0.5))[0].starts_with("m: "));
    for (direction, mask) in [
        (SIGNS, random),
        (SIGNS, Mask::magnitude(0.5)),
        (low_rank, Mask::None),
        (Direction::Coordinates, random),
    ] {
        assert!(problems(direction, mask).is_empty());
    }
}
