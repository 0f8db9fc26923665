//! Settings as recipes write them, and rubrics made of them.

use rewards::importance::Level;
use rewards::verifier::Unavailable;
use rewards::{
    AdvantageConfig, Attempt, Error, Importance, Outcome, Rubric, RubricConfig, Verdict, Verifier,
    WeightingConfig,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Table<T> {
    at: T,
}

fn parse<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    toml::from_str::<Table<T>>(text)
        .map(|table| table.at)
        .map_err(|error| error.message().to_owned())
}

#[track_caller]
fn refused<T: for<'de> Deserialize<'de> + std::fmt::Debug>(text: &str, message: &str) {
    let error = parse::<T>(text).unwrap_err();
    assert!(error.contains(message), "{error}");
}

fn rubric(text: &str) -> RubricConfig {
    parse(text).unwrap()
}

const ALL: &str = r#"
[[at]]
kind = "math"

[[at]]
kind = "length"
weight = 0.5
aim = { target = 10 }

[[at]]
kind = "overlong"
buffer = 8

[[at]]
kind = "format"
weight = 0.25
require = ["boxed-once", "finished"]
"#;

#[test]
fn a_recipe_sums_weighted_verifiers() {
    let config = rubric(ALL);
    let again: RubricConfig =
        serde_json::from_value(serde_json::to_value(&config).unwrap()).unwrap();
    assert_eq!(config, again);
    let problem = crate::problem("204");
    let attempts = [
        crate::attempt(&problem, r"\boxed{204}"),
        crate::attempt(&problem, "204"),
        Attempt { truncated: true, num_tokens: 16, ..crate::attempt(&problem, r"\boxed{20") },
    ];
    let judged = config.build().unwrap().judge(&attempts).unwrap();
    let outcomes: Vec<_> = judged.iter().map(|judged| judged.outcome).collect();
    assert_eq!(outcomes, [Outcome::Correct, Outcome::NoAnswer, Outcome::Unclosed]);
    assert_eq!(judged[0].answer.as_deref(), Some("204"));
    let names: Vec<_> = judged[0].parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["math", "length", "overlong", "format"]);
    // 12 tokens of 16: 0.2 off the target, half of the buffer used
    assert!((judged[0].reward - (1.0 - 0.1 - 0.5 + 0.25)).abs() < 1e-12, "{:?}", judged[0]);
    assert!((judged[1].reward - (-0.1 - 0.5 + 0.125)).abs() < 1e-12, "{:?}", judged[1]);
    assert!((judged[2].reward - (-0.3 - 1.0)).abs() < 1e-12, "{:?}", judged[2]);
}

#[test]
fn unknown_and_missing_keys_are_refused() {
    refused::<RubricConfig>("at = [{ kind = \"boxde\" }]", "unknown variant `boxde`");
    refused::<RubricConfig>("at = [{ kind = \"math\", wieght = 1 }]", "unknown field `wieght`");
    refused::<RubricConfig>("at = [{ kind = \"overlong\" }]", "missing field `buffer`");
    refused::<RubricConfig>("at = [{ kind = \"overlong\", buffer = 0 }]", "nonzero");
    refused::<RubricConfig>(
        "at = [{ kind = \"math\", strictness = \"loose\" }]",
        "unknown variant `loose`",
    );
    refused::<AdvantageConfig>("at = { kind = \"grpo\", epsilon = 1 }", "unknown field `epsilon`");
    refused::<AdvantageConfig>("at = { kind = \"dr-grpo\", eps = 1 }", "unknown field `eps`");
    refused::<AdvantageConfig>("at = { kind = \"rloo\", eps = 1 }", "unknown field `eps`");
    refused::<Importance>("at = { kind = \"truncated\", low = 1 }", "unknown field `low`");
    refused::<Importance>("at = { kind = \"masked\", cap = 1 }", "unknown field `cap`");
    refused::<Importance>(
        "at = { kind = \"masked\", level = \"group\" }",
        "unknown variant `group`",
    );
    refused::<WeightingConfig>("at = { kind = \"uniform\", weight = 1 }", "unknown field `weight`");
}

#[test]
fn defaults_are_the_papers() {
    assert_eq!(parse("at = { kind = \"grpo\" }"), Ok(AdvantageConfig::Grpo { eps: 1e-6 }));
    assert_eq!(AdvantageConfig::default(), AdvantageConfig::Grpo { eps: 1e-6 });
    assert_eq!(rubric("at = [{ kind = \"math\" }]"), RubricConfig::default());
    assert!(RubricConfig::default().problems().is_empty());
    assert!(AdvantageConfig::default().problems().is_empty());
    let plus = "at = { kind = \"reinforce-plus-plus-baseline\" }";
    assert_eq!(parse(plus), Ok(AdvantageConfig::ReinforcePlusPlusBaseline {}));
    let level = Level::Token;
    assert_eq!(parse("at = { kind = \"off\" }"), Ok(Importance::Off {}));
    assert_eq!(
        parse("at = { kind = \"truncated\" }"),
        Ok(Importance::Truncated { level, cap: 2.0 })
    );
    assert_eq!(
        parse("at = { kind = \"masked\", level = \"geometric\" }"),
        Ok(Importance::Masked { level: Level::Geometric, low: 0.5, high: 2.0 })
    );
    let bad = AdvantageConfig::Grpo { eps: 0.0 };
    assert_eq!(bad.problems(), ["eps: expected more than 0, got 0"]);
}

#[test]
fn all_problems_are_listed_at_once() {
    let config = rubric(
        r#"
        at = [
          { kind = "format", weight = -1.0, require = [] },
          { kind = "length", weight = nan, aim = "short" },
          { kind = "length", aim = "short" },
          { kind = "overlong", buffer = 4 },
        ]
        "#,
    );
    let expected = [
        "0.require: expected at least one rule, got none",
        "0.weight: expected 0 or more, got -1",
        "1.weight: expected 0 or more, got NaN",
        "2: expected every verifier once, got `length` again",
        "expected exactly one verifier that judges answers, got none: add `{ kind = \"math\" }`",
    ];
    assert_eq!(config.problems(), expected);
    let Err(Error::Settings(problems)) = config.build() else { panic!("built") };
    assert_eq!(problems, expected);
    let twice =
        "at = [{ kind = \"math\" }, { kind = \"format\", require = [\"finished\", \"finished\"] }]";
    assert_eq!(rubric(twice).problems(), ["1.require: expected every rule once, got one twice"]);
    assert_eq!(
        rubric("at = [{ kind = \"math\", weight = 1e308 }]").problems(),
        ["0.weight: expected at most 1000000000, got 1e308".replace("1e308", &1e308.to_string())]
    );
    assert_eq!(
        rubric("at = [{ kind = \"math\", weight = 0 }]").problems(),
        ["0.weight: expected more than 0, since `math` judges answers, got 0"]
    );
}

#[test]
fn every_kind_is_built_as_it_is_described() {
    let config = rubric(
        r#"
        at = [
          { kind = "math", weight = 2.0, strictness = "eval", marker = "answer-line" },
          { kind = "format", require = ["finished"] },
          { kind = "think-tags", weight = 0.5 },
          { kind = "length", aim = "short" },
          { kind = "overlong", buffer = 4 },
          { kind = "repetition" },
          { kind = "regex", pattern = "(?i)therefore" },
          { kind = "regex", name = "cites", pattern = '\[\d+\]', weight = 0.25 },
        ]
        "#,
    );
    assert!(config.problems().is_empty());
    let others = rubric("at = [{ kind = \"gsm8k\" }, { kind = \"countdown\" }]");
    for verifier in config.0.iter().chain(&others.0) {
        assert_eq!(verifier.build().unwrap().described(), verifier.described());
    }
    let text = rubric("at = [{ kind = \"repetition\" }, { kind = \"regex\", pattern = \"a\" }]");
    let again = serde_json::to_value(&text).unwrap();
    assert_eq!((&again[0]["words"], &again[1]["name"]), (&3.into(), &"regex".into()));

    let problem = crate::problem("204");
    let said = "<think>see [3]</think>Therefore\nAnswer: 204";
    let judged = config.build().unwrap().judge(&[crate::attempt(&problem, said)]).unwrap();
    let reward = |name: &str| judged[0].parts.iter().find(|(part, _)| part == name).unwrap().1;
    let found = ["think-tags", "repetition", "regex", "cites"].map(reward);
    assert_eq!(found, [1.0, 0.0, 1.0, 1.0]);
    let none =
        config.build().unwrap().judge(&[crate::attempt(&problem, "so so so so so")]).unwrap();
    assert!(none[0].parts.iter().filter(|(part, _)| part == "regex").all(|part| part.1 == 0.0));
    let repeated = none[0].parts.iter().find(|(part, _)| part == "repetition").unwrap().1;
    assert!((repeated + 2.0 / 3.0).abs() < 1e-12);
}

#[test]
fn a_pattern_that_is_none_is_refused_with_the_reason() {
    let config = rubric(
        r#"
        at = [
          { kind = "math" },
          { kind = "regex", pattern = "(" },
          { kind = "regex", name = "ahead", pattern = "a(?=b)" },
          { kind = "regex", name = "huge", pattern = "(?:a{1000}){1000}" },
          { kind = "regex", name = "", pattern = "a" },
          { kind = "repetition", words = 65 },
          { kind = "regex", name = "a/b", pattern = "a" },
        ]
        "#,
    );
    let expected = [
        "1.pattern: expected a regular expression, got \"(\": unclosed group",
        "2.pattern: expected a regular expression, got \"a(?=b)\": look-around, including \
         look-ahead and look-behind, is not supported",
        "3.pattern: expected a regular expression, got \"(?:a{1000}){1000}\": compiled regex \
         exceeds size limit of 10485760 bytes",
        "5.words: expected at most 64, got 65",
        "4.name: expected letters, digits, `-`, `_` and `.`, got ``",
        "6.name: expected letters, digits, `-`, `_` and `.`, got `a/b`",
    ];
    assert_eq!(config.problems(), expected);
    let Err(Error::Settings(_)) = config.0[1].build() else { panic!("built") };
    refused::<RubricConfig>("at = [{ kind = \"regex\" }]", "missing field `pattern`");
    refused::<RubricConfig>(
        "at = [{ kind = \"gsm8k\", marker = \"boxed\" }]",
        "unknown field `marker`",
    );
}

#[test]
fn a_schema_describes_the_settings() {
    let schema = schemars::schema_for!(RubricConfig).to_value().to_string();
    for key in ["math", "overlong", "buffer", "think-tags", "target", "strictness"] {
        assert!(schema.contains(&format!("\"{key}\"")), "{key}");
    }
    for config in [
        schemars::schema_for!(AdvantageConfig).to_value().to_string(),
        schemars::schema_for!(Importance).to_value().to_string(),
        schemars::schema_for!(WeightingConfig).to_value().to_string(),
    ] {
        assert!(config.contains("\"kind\""));
    }
}

/// A verifier from elsewhere, such as a process: it says what it is told to say.
#[derive(Debug)]
struct Scripted {
    judges: bool,
    says: Result<Vec<Verdict>, Unavailable>,
}

impl Verifier for Scripted {
    fn name(&self) -> &'static str {
        if self.judges { "remote" } else { "remote-form" }
    }

    fn judges_answers(&self) -> bool {
        self.judges
    }

    fn verify(&self, _: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        self.says.clone()
    }
}

fn scripted(answers: Result<Vec<Verdict>, Unavailable>, forms: Vec<Verdict>) -> Rubric {
    let part = |judges, says| rewards::rubric::Weighted {
        weight: 1.0,
        verifier: Box::new(Scripted { judges, says }),
    };
    Rubric::new(vec![part(true, answers), part(false, Ok(forms))]).unwrap()
}

fn says(outcome: Outcome) -> Verdict {
    Verdict { outcome: Some(outcome), answer: Some("7".into()), ..Verdict::form(0.5) }
}

#[test]
fn a_verifier_that_is_away_is_not_a_reward() {
    let problem = crate::problem("7");
    let attempts = [crate::attempt(&problem, "7")];
    let away = Unavailable { verifier: "remote".into(), reason: "is unavailable: no route".into() };
    let error = scripted(Err(away.clone()), vec![]).judge(&attempts).unwrap_err();
    assert_eq!(error, away);
    assert_eq!(error.to_string(), "verifier `remote` is unavailable: no route");
    let error = scripted(Ok(vec![]), vec![]).judge(&attempts).unwrap_err();
    assert_eq!(error.reason, "gave 0 verdicts, expected 1, one for each attempt");
}

#[test]
fn an_error_of_any_verifier_is_the_outcome() {
    let problem = crate::problem("7");
    let attempts = [crate::attempt(&problem, "7"); 3];
    let answers = Ok(vec![says(Outcome::Correct); 3]);
    let broken = Verdict { outcome: Some(Outcome::Error), ..Verdict::form(0.0) };
    let forms = vec![Verdict::form(1.0), broken, Verdict::form(f64::NAN)];
    let judged = scripted(answers, forms).judge(&attempts).unwrap();
    let outcomes: Vec<_> = judged.iter().map(|judged| judged.outcome).collect();
    assert_eq!(outcomes, [Outcome::Correct, Outcome::Error, Outcome::Error]);
    assert_eq!(judged[0].reward, 1.5);
}

#[test]
fn further_numbers_carry_the_name_of_their_verifier_and_earn_nothing() {
    let problem = crate::problem("7");
    let metrics = vec![("passed".to_owned(), 3.0)];
    let answers = vec![Verdict { metrics, ..says(Outcome::Correct) }];
    let metrics = vec![("passed".to_owned(), 4.0)];
    let forms = vec![Verdict { metrics, ..Verdict::form(1.0) }];
    let judged = scripted(Ok(answers), forms).judge(&[crate::attempt(&problem, "7")]).unwrap();
    assert_eq!(judged[0].reward, 1.5);
    let expected = [("remote/passed".to_owned(), 3.0), ("remote-form/passed".to_owned(), 4.0)];
    assert_eq!(judged[0].metrics, expected);
}

#[test]
fn a_group_with_an_unreadable_gold_is_reported() {
    let rubric = RubricConfig::default().build().unwrap();
    let verdict = |gold: &str| {
        let problem = crate::problem(gold);
        let attempts = [r"\boxed{7}", "", r"\boxed{"].map(|text| crate::attempt(&problem, text));
        rubric.judge(&attempts).unwrap()
    };
    let unreadable = |gold: &str| {
        verdict(gold).iter().map(|judged| judged.outcome == Outcome::GoldUnparseable).collect()
    };
    let [readable, not]: [Vec<bool>; 2] = ["7", "(7"].map(unreadable);
    assert_eq!((readable, not), (vec![false; 3], vec![true; 3]));
}

#[test]
fn a_state_of_another_weighting_is_refused() {
    let mut uniform = WeightingConfig::default().build();
    uniform.restore(&uniform.state()).unwrap();
    let error = uniform.restore(&serde_json::json!({ "w": 1.1 })).unwrap_err();
    assert_eq!(error.to_string(), "state of `weighting`: expected none, got {\"w\":1.1}");
}
