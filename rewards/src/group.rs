//! What becomes of a group: the attempts at one problem in one step.

/// Whether a group teaches something: its values differ, or it has only one.
///
/// `values` is one number for each sibling, such as the reward or whether it is correct.
///
/// Source: dynamic sampling of DAPO, arXiv 2503.14476, equation 11, as verl filters groups; there
/// by a standard deviation above 0, here exactly.
pub fn has_spread(values: &[f64]) -> bool {
    match values {
        [] => false,
        [_] => true,
        [first, rest @ ..] => rest.iter().any(|value| (value - first).abs() > 0.0),
    }
}
