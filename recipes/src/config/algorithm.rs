use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A published algorithm: a name for settings of the stage. They take the place of what a stage
/// leaves out. What it sets itself takes precedence, and the resolved recipe shows them all.
///
/// In what follows, `A` is the advantage, `r` the ratio of the new probability to the old one, and
/// a completion `o` has `|o|` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// `A = (R - mean) / std` in the group; the mean over completions of the mean over tokens of
    /// `min(r A, clip(r, 0.8, 1.2) A)`, without a dual clip. The paper adds a KL to the reference:
    /// `loss.kl`.
    ///
    /// Source: arXiv 2402.03300, equation 3.
    Grpo,
    /// `A = R - mean` in the group; the mean over completions of the sum over tokens, so that
    /// neither length nor spread scales it.
    ///
    /// The paper's code, verl and TRL divide the sum by a constant, such as the token limit: here
    /// `loss.aggregation = { kind = "seq-mean-token-sum-norm", scale = S }`, with S the completions
    /// of an update times that constant. Without it the gradient is larger by the constant, and
    /// `optim.max_grad_norm` has to grow with it, or it scales every gradient down.
    ///
    /// Source: arXiv 2503.20783, section 3.2.
    DrGrpo,
    /// GRPO with `clip(r, 0.8, 1.28)`, the mean over all tokens, and dynamic sampling. The overlong
    /// punishment is a verifier, `kind = "overlong"`, since its buffer depends on the token limit.
    ///
    /// Source: arXiv 2503.14476, equation 8.
    Dapo,
    /// `A = R - (mean of the siblings)`; the mean over completions of the sum over tokens. The
    /// gradient grows with the length, as in `dr-grpo`.
    ///
    /// Source: arXiv 2402.14740, section 3.3.
    Rloo,
    /// `A = R`, whitened over the tokens of the step; the mean over all tokens.
    ///
    /// Source: arXiv 2501.03262, equations 4 to 6; the whitening as in verl.
    #[serde(rename = "reinforce++")]
    ReinforcePlusPlus,
    /// `A = R - (mean of the group)`, whitened over the tokens of the step.
    ///
    /// Source: arXiv 2501.03262, section 3.3.
    #[serde(rename = "reinforce++-baseline")]
    ReinforcePlusPlusBaseline,
    /// `A = alpha (R - mean)` with `alpha` making up for the groups without spread; `-A log_prob`,
    /// the mean over all tokens.
    ///
    /// Source: arXiv 2504.02546.
    Gpg,
    /// One ratio a completion, `(pi(o) / pi_old(o))^(1 / |o|)`, clipped to 1 - 3e-4 and 1 + 4e-4.
    ///
    /// Source: arXiv 2507.18071, equations 5 to 7.
    Gspo,
    /// The geometric mean of a completion's clipped ratios, bounds `e^-0.4` and `e^0.4`.
    ///
    /// Source: arXiv 2507.20673.
    Gmpo,
    /// `-sg(min(r, 1.2)) A log_prob`: what is clipped keeps its gradient.
    ///
    /// Source: `MiniMax-M1`, arXiv 2506.13585, equations 4 and 5. The paper does not give its
    /// bound; 1.2 is that of verl's example, and others set it to several times that.
    Cispo,
    /// `4 / tau sigmoid(tau (r - 1)) A`, tau 1 where `A > 0` and 1.05 where `A < 0`.
    ///
    /// Source: arXiv 2511.20347.
    Sapo,
    /// GRPO in which a few of the tokens whose log-prob and advantage vary together have no
    /// gradient.
    ///
    /// Source: arXiv 2505.22617, section 4.2; settings of its 7B script.
    ClipCov,
    /// GRPO without clip, with a penalty `|log r|` on the tokens whose log-prob and advantage vary
    /// together most. The penalty has no gradient at `r = 1`: it needs several updates a step.
    ///
    /// Source: arXiv 2505.22617, section 4.2; settings of its 7B script.
    KlCov,
    /// DAPO's loss and sampling with STARE's token weights, variant O1.
    ///
    /// Source: arXiv 2606.19236, algorithm 1; settings of its 7B script.
    Stare,
}

/// The settings of every algorithm, each a table under its name.
pub(super) const PRESETS: &str = include_str!("presets.toml");

#[cfg(test)]
mod tests {
    use super::super::{Layer, Stage, load};
    use super::*;

    fn names() -> Vec<String> {
        let presets: toml::Table = PRESETS.parse().unwrap();
        presets.keys().cloned().collect()
    }

    #[test]
    fn every_algorithm_has_settings_and_every_setting_an_algorithm() {
        let schema = serde_json::to_value(schemars::schema_for!(Algorithm)).unwrap();
        let variants = schema["oneOf"].as_array().unwrap();
        let mut known: Vec<_> =
            variants.iter().map(|variant| variant["const"].as_str().unwrap().to_owned()).collect();
        let mut found = names();
        known.sort();
        found.sort();
        assert_eq!(known, found);
    }

    const PLAIN: &str = r#"
        model = { path = "builtin:atom" }
        data.train = { kind = "arithmetic", count = 50, min_digits = 1, max_digits = 1, operations = ["+"] }
        data.held_out = { kind = "split", count = 5 }
        [[stage]]
        kind = "rl"
        steps = 1
        batch = 4
        group_size = 2
        schedule = { kind = "constant", lr = 1e-4 }
    "#;

    #[test]
    fn each_resolves_shows_its_settings_and_reads_back() {
        for name in names() {
            let text = PLAIN.replace("steps = 1", &format!("steps = 1\nalgorithm = \"{name}\""));
            let recipe = load(&[Layer::text("plain", &text)], &[]).unwrap().recipe;
            let resolved = recipe.to_toml().unwrap();
            let again = load(&[Layer::text("plain", &resolved)], &[]).unwrap().recipe;
            assert_eq!(again, recipe, "{name}");
            let without = resolved.replace(&format!("algorithm = \"{name}\"\n"), "");
            assert_ne!(without, resolved);
            let mut plain = load(&[Layer::text("plain", &without)], &[]).unwrap().recipe;
            let (Stage::Rl(mine), Stage::Rl(plain)) = (&recipe.stages[0], &mut plain.stages[0])
            else {
                unreachable!("the stage is of reinforcement learning");
            };
            plain.algorithm = mine.algorithm;
            assert_eq!(mine, plain, "{name} is nothing but its settings");
        }
    }

    #[test]
    fn what_the_stage_sets_goes_over_the_preset() {
        let text = PLAIN.replace(
            "steps = 1",
            "steps = 1\nalgorithm = \"gspo\"\nloss.policy_loss.clip_high = 0.5\n\
             loss.aggregation.kind = \"token-mean\"",
        );
        let set = ["stage.rl.loss.policy_loss.clip_low=0.25".to_owned()];
        let recipe = load(&[Layer::text("plain", &text)], &set).unwrap().recipe;
        let Stage::Rl(stage) = &recipe.stages[0] else { unreachable!("it is") };
        let expected = engine::loss::PolicyLoss::Gspo { clip_low: 0.25, clip_high: 0.5 };
        assert_eq!(stage.loss.policy_loss, expected);
        assert_eq!(stage.loss.aggregation, engine::loss::Aggregation::TokenMean {});
        let unknown = PLAIN.replace("steps = 1", "steps = 1\nalgorithm = \"gsp\"");
        let error = load(&[Layer::text("plain", &unknown)], &[]).unwrap_err().to_string();
        assert!(error.starts_with("plain:8:13: stage.0.algorithm: unknown value `gsp`"), "{error}");
        assert!(error.contains("did you mean `gspo`?"), "{error}");
    }
}
