use rewards::rubric::{self, Described};
use rewards::verifier::Rule;
use rewards::{Marker, VerifierConfig};
use schemars::JsonSchema;
use serde::de::MapAccess;
use serde::{Deserialize, Deserializer, Serialize};
use settings::Tagged;

use super::http::{Http, HttpConfig};
use super::process::{Process, ProcessConfig};
use super::retry::{Outside, RetryPolicy, Retrying};

/// The verifiers of a recipe. Exactly one of them judges answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RewardsConfig(pub Vec<RewardConfig>);

/// One verifier and its weight in the sum of rewards.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum RewardConfig {
    /// One of ours.
    Inside(VerifierConfig),
    /// One that the user brings; docs/verifiers.md has the protocol.
    Outside(OutsideConfig),
}

/// A verifier outside this process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case")]
#[schemars(tag = "kind", transform = settings::by_name)]
pub enum OutsideConfig {
    /// A program of your own: a child process that stays alive and is asked by JSON lines
    /// (docs/verifiers.md).
    Process(ProcessConfig),
    /// A server of your own, which is asked over HTTP (docs/verifiers.md).
    Http(HttpConfig),
}

settings::tagged!(OutsideConfig);

impl<'de> Tagged<'de> for RewardConfig {
    const DEFAULT: Option<&'static str> = None;

    fn kinds() -> Vec<&'static str> {
        [VerifierConfig::kinds(), OutsideConfig::kinds()].concat()
    }

    fn from_table<A: MapAccess<'de>>(table: settings::Table<A>) -> Result<Self, A::Error> {
        if OutsideConfig::kinds().contains(&table.kind()) {
            return OutsideConfig::from_table(table).map(Self::Outside);
        }
        VerifierConfig::from_table(table).map(Self::Inside)
    }
}

impl<'de> Deserialize<'de> for RewardConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        settings::read(deserializer)
    }
}

impl OutsideConfig {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Fails when its program cannot be started, or a variable or file that it needs is missing.
    pub fn start(&self, retry_policy: &RetryPolicy) -> anyhow::Result<Retrying> {
        let console = retry_policy.console.clone();
        let (verifier, give_up): (Box<dyn Outside>, _) = match self {
            Self::Process(config) => {
                (Box::new(Process::start(config.clone(), console)?), config.give_up_after_s)
            }
            Self::Http(config) => {
                (Box::new(Http::new(config.clone(), console)?), config.give_up_after_s)
            }
        };
        Ok(Retrying::new(verifier, retry_policy.clone(), give_up))
    }

    /// Factor of its reward.
    pub fn weight(&self) -> f64 {
        match self {
            Self::Process(config) => config.weight,
            Self::Http(config) => config.weight,
        }
    }

    /// Whether one instance can serve both: their settings are equal but for the weight.
    pub fn is_same_judge(&self, other: &Self) -> bool {
        let unweighted = |config: &Self| {
            let mut config = config.clone();
            match &mut config {
                Self::Process(config) => config.weight = 1.0,
                Self::Http(config) => config.weight = 1.0,
            }
            config
        };
        unweighted(self) == unweighted(other)
    }
}

impl Default for RewardsConfig {
    /// The boxed answer alone.
    fn default() -> Self {
        Self(rewards::RubricConfig::default().0.into_iter().map(RewardConfig::Inside).collect())
    }
}

impl RewardConfig {
    fn described(&self) -> Described<'_> {
        match self {
            Self::Inside(config) => config.described(),
            Self::Outside(OutsideConfig::Process(config)) => config.described(),
            Self::Outside(OutsideConfig::Http(config)) => config.described(),
        }
    }

    fn problem(&self) -> Option<String> {
        match self {
            Self::Inside(config) => config.problem(),
            Self::Outside(OutsideConfig::Process(config)) => config.problem(),
            Self::Outside(OutsideConfig::Http(config)) => config.problem(),
        }
    }
}

impl RewardsConfig {
    /// The kind of a verifier of ours that compares with the gold answer, if there is one.
    pub fn reads_answers(&self) -> Option<&'static str> {
        self.0.iter().find_map(|verifier| match verifier {
            RewardConfig::Inside(VerifierConfig::Math { .. }) => Some("math"),
            RewardConfig::Inside(VerifierConfig::Gsm8k { .. }) => Some("gsm8k"),
            _ => None,
        })
    }

    /// A sentence for a prompt that asks for the answer in the form that is read; `None` where no
    /// verifier of ours looks for one.
    pub fn request(&self) -> Option<String> {
        let asked = self.0.iter().find_map(|verifier| match verifier {
            RewardConfig::Inside(VerifierConfig::Math { marker, .. }) => Some(*marker),
            RewardConfig::Inside(VerifierConfig::Gsm8k { .. }) => Some(Marker::Hashes),
            _ => None,
        })?;
        let in_tags = self.0.iter().any(|verifier| {
            let RewardConfig::Inside(VerifierConfig::Format { require, .. }) = verifier else {
                return false;
            };
            require.contains(&Rule::AnswerTags)
        });
        let tags = if in_tags { " Write it between <answer> and </answer>." } else { "" };
        Some(format!("{}{tags}", asked.request()))
    }

    /// Whether a verifier may read any column of a row.
    pub fn reads_columns(&self) -> bool {
        self.0.iter().any(|verifier| matches!(verifier, RewardConfig::Outside(_)))
    }

    /// Everything that is wrong, each with its key, from the verifier's index on.
    pub fn problems(&self) -> Vec<String> {
        let own = self.0.iter().enumerate().filter_map(|(index, verifier)| {
            verifier.problem().map(|problem| format!("{index}.{problem}"))
        });
        let described: Vec<_> = self.0.iter().map(RewardConfig::described).collect();
        own.chain(rubric::problems(&described)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rewards: &str) -> Result<RewardsConfig, String> {
        #[derive(Deserialize)]
        struct Table {
            rewards: RewardsConfig,
        }
        let table = toml::from_str::<Table>(&format!("rewards = {rewards}"));
        table.map(|table| table.rewards).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn verifiers_of_both_kinds_are_read_and_written_back() {
        let text = r#"[
            { kind = "math", weight = 0.5 },
            { kind = "process", command = ["./judge", "-v"], judges_answers = false },
            { kind = "http", url = "http://127.0.0.1:80/judge", judges_answers = false, batch = 2 },
        ]"#;
        let config = read(text).unwrap();
        assert!(config.problems().is_empty(), "{:?}", config.problems());
        let written = toml::Value::try_from(&config).unwrap();
        assert_eq!(written[1]["deadline_s"].as_float(), Some(10.0));
        assert_eq!(written[2]["name"].as_str(), Some("http"));
        assert_eq!(RewardsConfig::deserialize(written).unwrap(), config);
    }

    #[test]
    fn what_is_misspelt_is_named() {
        let refused = |text: &str, words: &[&str]| {
            let error = read(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refused("[{ kind = \"mth\" }]", &["unknown variant `mth`", "`math`", "`process`, `http`"]);
        refused("[{ kind = \"math\", wieght = 1 }]", &["unknown field `wieght`"]);
        refused("[{ kind = \"process\", comand = [] }]", &["unknown field `comand`", "`command`"]);
        refused("[{ kind = \"http\" }]", &["missing field `url`"]);
        refused("[{ weight = 1 }]", &["missing field `kind`"]);
    }

    #[test]
    fn what_is_asked_for_is_what_is_read() {
        let request = |rewards: &str| read(rewards).unwrap().request();
        assert_eq!(
            request("[{ kind = \"length\", aim = \"short\" }, { kind = \"math\" }]").as_deref(),
            Some("Put your final answer within \\boxed{}.")
        );
        let hashes = request("[{ kind = \"gsm8k\" }]").unwrap();
        assert!(hashes.contains("####"), "{hashes}");
        assert_eq!(request("[{ kind = \"math\", marker = \"hashes\" }]"), Some(hashes));
        let line = request("[{ kind = \"math\", marker = \"answer-line\" }]").unwrap();
        assert!(line.contains("Answer:"), "{line}");
        let tags = "[{ kind = \"math\" }, { kind = \"format\", require = [\"answer-tags\"] }]";
        let tags = request(tags).unwrap();
        assert!(tags.contains("boxed") && tags.contains("<answer>"), "{tags}");
        assert_eq!(request("[{ kind = \"countdown\" }]"), None);
        assert_eq!(request("[{ kind = \"process\", command = [\"x\"] }]"), None);
    }

    #[test]
    fn all_problems_are_listed_at_once() {
        let config = read(
            r#"[
                { kind = "regex", pattern = "(" },
                { kind = "process", command = [], name = "one" },
                { kind = "process", command = ["x"], name = "one", deadline_s = 0 },
                { kind = "http", url = "127.0.0.1", weight = -1.0 },
                { kind = "http", url = "http://here", name = "", timeout_s = inf },
                { kind = "http", url = "http://here", name = "ca", ca = "ca.pem" },
            ]"#,
        );
        let problems = config.unwrap().problems();
        let expected = [
            "0.pattern: expected a regular expression, got \"(\": unclosed group",
            "1.command: expected a program and its arguments, got nothing",
            "2.deadline_s: expected more than 0 and at most 86400 seconds, got 0",
            "3.url: expected http:// or https:// and a host, got `127.0.0.1`",
            "4.timeout_s: expected more than 0 and at most 86400 seconds, got inf",
            "5.ca: expected an https:// url to use it for, got `http://here`",
            "2: expected every verifier once, got `one` again: set another `name`",
            "3.weight: expected 0 or more, got -1",
            "4.name: expected letters, digits, `-`, `_` and `.`, got ``",
            "expected exactly one verifier that judges answers, got `rewards.1` (one) and `rewards.2` (one) \
             and `rewards.3` (http) and `rewards.4` () and `rewards.5` (ca): add `judges_answers = false` to \
             `rewards.2` (one) and `rewards.3` (http) and `rewards.4` () and `rewards.5` (ca), and its reward is added to the sum",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn who_is_to_judge_is_said_with_the_key_to_change() {
        let problem = |text: &str| read(text).unwrap().problems().remove(0);
        let process = "{ kind = \"process\", command = [\"x\"] }";
        assert_eq!(
            problem(&format!("[{{ kind = \"math\" }}, {process}]")),
            "expected exactly one verifier that judges answers, got `rewards.0` (math) and `rewards.1` (process): \
             add `judges_answers = false` to `rewards.1` (process), and its reward is added to the sum; or \
             remove `rewards.0` (math) if it is to judge instead"
        );
        assert_eq!(
            problem("[{ kind = \"math\" }, { kind = \"countdown\" }]"),
            "expected exactly one verifier that judges answers, got `rewards.0` (math) and `rewards.1` (countdown): \
             remove all but one"
        );
        assert_eq!(
            problem("[{ kind = \"process\", command = [\"x\"], judges_answers = false }]"),
            "expected exactly one verifier that judges answers, got none: set `judges_answers = \
             true` for `rewards.0` (process), or add `{ kind = \"math\" }`"
        );
        assert_eq!(
            problem(
                "[{ kind = \"math\" }, { kind = \"http\", url = \"http://a\", name = \"part\", judges_answers = false }]"
            ),
            "1.name: `part` is part of the keys of other metrics: choose another name"
        );
    }
}
