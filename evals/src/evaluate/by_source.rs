//! The accuracy of an evaluation by the source of the problems.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::share_correct;
use crate::Estimate;
use crate::attempt::GradedGroup;
use crate::sources::told_apart;

/// The accuracy on the problems of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceAccuracy {
    /// The source.
    pub source: String,
    /// Its name in the keys of metrics.
    pub key: String,
    /// Problems judged.
    pub problems: usize,
    /// Share of their completions that are correct; 0 of none.
    pub accuracy: f64,
    /// Lower end of its 95 % interval over problems.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
}

/// The accuracy by source, where there are several.
pub(super) fn by_source(groups: &[GradedGroup]) -> Vec<SourceAccuracy> {
    let all = groups.iter().map(|group| group.problem.source.as_str());
    let of = |(source, key): (&str, String)| {
        let own = groups.iter().filter(|one| !one.unjudged() && one.problem.source == source);
        let shares: Vec<_> = own.map(share_correct).collect();
        let Estimate { mean: accuracy, low, high } = Estimate::over_problems(&shares, 1.0);
        let (source, problems) = (source.to_owned(), shares.len());
        SourceAccuracy { source, key, problems, accuracy, low, high }
    };
    told_apart(all).into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use rewards::Outcome;
    use rollout::Finish;

    use super::super::tests::group;
    use super::*;
    use crate::Evaluation;

    #[test]
    fn several_sources_have_an_accuracy_each() {
        use Outcome::{Correct, Error, Wrong};
        let of = |source: &str, outcomes: &[Outcome]| {
            let mut group = group(Finish::Stop, outcomes);
            source.clone_into(&mut group.problem.source);
            group
        };
        let groups = [
            of("math", &[Correct, Wrong]),
            of("gsm8k", &[Wrong, Wrong]),
            of("math", &[Correct, Correct]),
            of("math", &[Correct, Error]),
            of("aime/24", &[Error, Error]),
        ];
        let mut found = Evaluation::of(&groups);
        found.set = "mixed".into();
        found.samples = 2;
        let said = |one: &SourceAccuracy| (one.source.clone(), one.problems, one.accuracy);
        let said: Vec<_> = found.sources.iter().map(said).collect();
        let expected = [("aime/24", 0, 0.0), ("gsm8k", 1, 0.0), ("math", 2, 0.75)];
        assert_eq!(said, expected.map(|(name, count, share)| (name.to_owned(), count, share)));
        let math = Estimate::over_problems(&[0.5, 1.0], 1.0);
        assert_eq!((found.sources[2].low, found.sources[2].high), (math.low, math.high));
        let metrics = found.metrics().unwrap();
        let value = |key: &str| metrics.get(key);
        assert_eq!(value("val-core/mixed/math/acc/mean@2"), Some(0.75));
        assert_eq!(value("val-core/mixed/gsm8k/acc/mean@2"), Some(0.0));
        assert_eq!(value("val-aux/mixed/math/acc/high"), Some(math.high));
        assert_eq!(value("val-core/mixed/aime-24/acc/mean@2"), None, "nothing was judged");
        assert_eq!(value("val-aux/mixed/aime-24/problems"), Some(0.0));
        // One source says what the set says.
        let one = Evaluation::of(&groups[2..4]);
        assert_eq!(one.sources, []);
        assert!(serde_json::to_value(&one).unwrap().get("sources").is_none());
    }
}
