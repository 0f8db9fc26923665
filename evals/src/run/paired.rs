//! Two evaluations of a set, compared problem by problem.

use std::collections::BTreeMap;

use super::{Figure, ProblemLine};
use crate::Paired;

/// A problem's line in one evaluation and in another.
pub type Pair<'a> = (&'a ProblemLine, &'a ProblemLine);

/// The problems that two evaluations of the same rows have in common, by their numbers. Rows that
/// are the same have the same numbers; an id names a problem within one file alone, and a set may
/// have several files.
pub fn pairs_by_number<'a>(here: &'a [ProblemLine], there: &'a [ProblemLine]) -> Vec<Pair<'a>> {
    let there: BTreeMap<u64, &ProblemLine> = there.iter().map(|line| (line.number, line)).collect();
    let mut here: Vec<_> = here.iter().collect();
    here.sort_by_key(|line| line.number);
    here.into_iter().filter_map(|line| Some((line, *there.get(&line.number)?))).collect()
}

/// The problems that two evaluations have in common, by their ids, for evaluations that do not say
/// what their rows were. An id that one of them has twice names no problem and is left out.
pub fn pairs_by_id<'a>(here: &'a [ProblemLine], there: &'a [ProblemLine]) -> Vec<Pair<'a>> {
    let (ours, theirs) = (by_id(here), by_id(there));
    let both = ours.into_iter().filter_map(|(id, line)| Some((line?, (*theirs.get(id)?)?)));
    let mut pairs: Vec<Pair<'a>> = both.collect();
    pairs.sort_by_key(|(line, _)| line.number);
    pairs
}

/// The lines by their ids, none for an id of several lines.
fn by_id(lines: &[ProblemLine]) -> BTreeMap<&str, Option<&ProblemLine>> {
    let mut found = BTreeMap::new();
    for line in lines {
        found.entry(line.id.as_str()).and_modify(|known| *known = None).or_insert(Some(line));
    }
    found
}

/// What the first evaluation has more than the second, by figure, over the problems that both have
/// a value of. Figures that no pair has are left out.
pub fn paired_figures(pairs: &[Pair<'_>]) -> Vec<(Figure, Paired)> {
    let samples = pairs.iter().map(|(here, there)| here.n.max(there.n)).max().unwrap_or(0);
    let paired = |figure: Figure| {
        let difference = |(here, there): &Pair<'_>| Some(figure.of(here)? - figure.of(there)?);
        let differences: Vec<_> = pairs.iter().filter_map(difference).collect();
        let paired = || Paired::of(&differences, figure.largest());
        (!differences.is_empty()).then(|| (figure, paired()))
    };
    Figure::all(samples).into_iter().filter_map(paired).collect()
}

#[cfg(test)]
mod tests {
    use rewards::Outcome;
    use rollout::Finish;

    use super::*;
    use crate::evaluate::tests::{group, lines};

    fn two(first: &[Outcome], second: &[Outcome]) -> Vec<ProblemLine> {
        let mut both = lines(&[group(Finish::Stop, first), group(Finish::Stop, second)]);
        for (line, id) in both.iter_mut().zip(["a", "b"]) {
            line.id = id.into();
        }
        both
    }

    #[test]
    fn ids_pair_what_numbers_do_not() {
        use Outcome::{Correct, Wrong};
        let here = two(&[Correct; 2], &[Wrong; 2]);
        let mut there = two(&[Wrong; 2], &[Wrong; 2]);
        there.swap(0, 1);
        there[0].number = 7;
        let ids = |pairs: &[Pair<'_>]| -> Vec<_> {
            pairs.iter().map(|(a, b)| (a.id.clone(), b.id.clone())).collect()
        };
        let same = |id: &str| (id.to_owned(), id.to_owned());
        assert_eq!(ids(&pairs_by_id(&here, &there)), [same("a"), same("b")]);
        assert_eq!(ids(&pairs_by_number(&here, &there)), [same("a")]);
        // An id of two rows says not which of them is meant.
        there[0].id = "a".into();
        assert_eq!(ids(&pairs_by_id(&here, &there)), []);
    }

    #[test]
    fn what_was_not_judged_is_in_no_figure() {
        use Outcome::{Correct, Error, Wrong};
        let (here, there) =
            (two(&[Correct, Correct], &[Correct, Wrong]), two(&[Wrong, Correct], &[Error, Wrong]));
        let found = paired_figures(&pairs_by_number(&here, &there));
        let names: Vec<_> = found.iter().map(|(figure, _)| figure.to_string()).collect();
        assert_eq!(names, ["avg", "pass@2", "maj@2", "reward", "truncated", "tokens"]);
        assert_eq!(found[0].1, Paired::of(&[0.5], Some(1.0)));
    }
}
