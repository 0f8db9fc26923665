//! The rows of a run's data, for verifiers that read columns which the record does not have.

use dash::{Fault, Refusal};
use evals::run::SampleGroup;
use rewards::Problem;

use super::refusal;
use super::settings::Settings;
use crate::data::{self, Problems};
use crate::search_path::SearchPath;
use crate::verifiers::RewardConfig;

const ACT: &str =
    "start the server in the folder in which the run was started, with its data in place";

/// The data of the last run that asked for it.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The recipe that names it, as text.
    recipe: String,
    read: Option<Problems>,
}

impl Rows {
    /// The problem of a group. Verifiers outside this process may read any column of its row: for
    /// them it is looked up in the run's data, which is read once.
    pub(super) fn problem(
        &mut self,
        group: &SampleGroup,
        settings: &Settings,
    ) -> Result<Problem, Refusal> {
        let rewards = &settings.stage().rewards.0;
        if rewards.iter().all(|one| matches!(one, RewardConfig::Inside(_))) {
            return Ok(Problem {
                id: group.id.clone(),
                history: group.history.clone(),
                problem: group.problem.clone(),
                answer: group.gold.clone(),
                source: group.source.clone(),
                ..Problem::default()
            });
        }
        if self.recipe != settings.text {
            *self = Self { recipe: settings.text.clone(), read: None };
        }
        if let Some(found) = self.find(group, settings.stage) {
            return Ok(found);
        }
        // The data may have been put in its place since it was read.
        let read = data::problems(&settings.recipe, &SearchPath::of_command());
        self.read = Some(read.map_err(|error| refusal(Fault::Server, &error).act(ACT))?);
        self.find(group, settings.stage).ok_or_else(|| {
            let error = format!("the data of the run has no problem `{}` any more", group.id);
            Refusal::new(Fault::Gone, error).act(ACT)
        })
    }

    fn find(&self, group: &SampleGroup, stage: usize) -> Option<Problem> {
        let is_it = |problem: &&Problem| {
            (&problem.id, &problem.problem, &problem.answer)
                == (&group.id, &group.problem, &group.gold)
        };
        self.read.as_ref()?.of_stage(stage).iter().find(is_it).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Recipe;

    #[test]
    fn the_data_of_a_run_is_read_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("rows.jsonl");
        let rows = [("a", "1 + 1 ="), ("b", "2 + 2 =")];
        let line = |(id, problem)| {
            format!(
                "{{\"id\":\"{id}\",\"problem\":\"{problem}\",\"answer\":\"4\",\"level\":\"7\"}}\n"
            )
        };
        fs::write(&path, rows.map(line).concat()).unwrap();
        let text = RECIPE.replace("PATH", &path.display().to_string());
        let recipe = Recipe::parse("recipe.toml", &text).unwrap();
        let settings = Settings { text, recipe, stage: 0 };
        let group = |id: &str, problem: &str| SampleGroup {
            step: 1,
            group: 0,
            id: id.into(),
            source: String::new(),
            history: Vec::new(),
            problem: problem.into(),
            gold: "4".into(),
            prompt: String::new(),
            kept: true,
            completions: Vec::new(),
        };
        let mut all = Rows::default();
        let found = all.problem(&group("a", "1 + 1 ="), &settings).unwrap();
        assert_eq!(found.columns["level"], "7");
        fs::remove_file(&path).unwrap();
        assert_eq!(all.problem(&group("b", "2 + 2 ="), &settings).unwrap().id, "b");
        // What is not in it is looked for again.
        assert!(all.problem(&group("c", "3 + 3 ="), &settings).is_err());
        assert!(Rows::default().problem(&group("a", "1 + 1 ="), &settings).is_err());
    }

    const RECIPE: &str = r#"
        name = "small"
        model = { path = "builtin:atom" }
        prompt = { template = { kind = "plain", text = "{problem}=" } }
        data = { train = { kind = "jsonl", path = "PATH" } }

        [[stage]]
        kind = "rl"
        steps = 1
        batch = 1
        group_size = 2
        rollout = { max_new_tokens = 6 }
        rewards = [{ kind = "process", command = ["true"] }]
        schedule = { kind = "constant", lr = 1e-3 }
    "#;
}
