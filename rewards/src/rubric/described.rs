//! Verifiers as their rubric compares them, and what can be wrong with their combination.

/// What is known about a verifier before it is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Described<'a> {
    /// Its name: the key of its part in records.
    pub name: &'a str,
    /// Factor of its reward.
    pub weight: f64,
    /// Whether its verdicts carry the outcome.
    pub judges_answers: bool,
    /// Whether it runs outside this process; its keys `name` and `judges_answers` can then be set.
    pub outside: bool,
}

/// Names of the form `reward/NAME/...` that metrics of other kinds have.
const TAKEN: [&str; 3] = ["group", "outcome", "part"];

/// The largest weight: rewards far beyond those of other verifiers drown them in rounding.
const MOST_WEIGHT: f64 = 1e9;

/// Why these verifiers do not form a rubric, each reason with an index: not exactly one judges
/// answers, two have the same name, a name cannot be part of a metric key, or a weight is negative,
/// more than 1e9 or not finite, or 0 where answers are judged.
pub fn problems(parts: &[Described<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, &Described { name, weight, judges_answers, outside }) in parts.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(plain) {
            problems.push(format!(
                "{index}.name: expected letters, digits, `-`, `_` and `.`, got `{name}`"
            ));
        }
        if TAKEN.contains(&name) {
            problems.push(format!(
                "{index}.name: `{name}` is part of the keys of other metrics: choose another name"
            ));
        }
        if parts[..index].iter().any(|earlier| earlier.name == name) {
            let act = if outside { ": set another `name`" } else { "" };
            problems
                .push(format!("{index}: expected every verifier once, got `{name}` again{act}"));
        }
        if !weight.is_finite() || weight < 0.0 {
            problems.push(format!("{index}.weight: expected 0 or more, got {weight}"));
        } else if weight > MOST_WEIGHT {
            problems.push(format!("{index}.weight: expected at most {MOST_WEIGHT}, got {weight}"));
        }
        if judges_answers && weight == 0.0 {
            problems.push(format!(
                "{index}.weight: expected more than 0, since `{name}` judges answers, got 0"
            ));
        }
    }
    problems.extend(judges(parts));
    problems
}

/// What is wrong where not exactly one verifier judges answers, and which key to change.
fn judges(parts: &[Described<'_>]) -> Option<String> {
    let listed = |wanted: &dyn Fn(&Described<'_>) -> bool| -> Vec<_> {
        let wanted = parts.iter().enumerate().filter(|(_, part)| wanted(part));
        wanted.map(|(index, part)| format!("`rewards.{index}` ({})", part.name)).collect()
    };
    let expected = "expected exactly one verifier that judges answers, got";
    let judges = listed(&|part| part.judges_answers);
    if judges.is_empty() {
        let act = match listed(&|part| part.outside).first() {
            Some(one) => format!("set `judges_answers = true` for {one}, or add"),
            None => "add".to_owned(),
        };
        return Some(format!("{expected} none: {act} `{{ kind = \"math\" }}`"));
    }
    if judges.len() == 1 {
        return None;
    }
    let got = judges.join(" and ");
    let inside = listed(&|part| part.judges_answers && !part.outside);
    let outside = listed(&|part| part.judges_answers && part.outside);
    // Whoever adds a program to `math` most often wants another part of the reward.
    let others = if inside.is_empty() { &outside[1..] } else { &outside[..] };
    Some(match (others, inside.as_slice()) {
        ([], _) => format!("{expected} {got}: remove all but one"),
        (others, []) => format!(
            "{expected} {got}: add `judges_answers = false` to {}, and its reward is added to the sum",
            others.join(" and ")
        ),
        (others, inside) => format!(
            "{expected} {got}: add `judges_answers = false` to {}, and its reward is added to the \
             sum; or remove {} if it is to judge instead",
            others.join(" and "),
            inside.join(" and ")
        ),
    })
}
