//! What resumes changed: `changes.jsonl`, and the recipes that were replaced.

use std::fmt;
use std::fs;
use std::io;

use anyhow::{Context, Result};
use evals::record::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ENVIRONMENT, Environment, FORMAT, RECIPE, RunDir, write_json};

const CHANGES: &str = "changes.jsonl";

/// What a change of a setting does to a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The run cannot go on with it.
    Impossible,
    /// The steps from here on differ from those of an unbroken run.
    Changing,
    /// It changes no step.
    Free,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Impossible => "impossible",
            Self::Changing => "changing",
            Self::Free => "free",
        })
    }
}

/// A setting that is another one than before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The key of the recipe, or one of `environment.json` with that name before it.
    pub key: String,
    /// What it does.
    pub class: Class,
    /// The value before; nothing where it was not set.
    pub then: Option<Value>,
    /// The value now.
    pub now: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show =
            |value: &Option<Value>| value.as_ref().map_or("not set".into(), Value::to_string);
        write!(f, "{}: {} then, {} now", self.key, show(&self.then), show(&self.now))
    }
}

/// A line of `changes.jsonl`: what one resume changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Version of this file.
    pub format: u32,
    /// Steps done before.
    pub step: u64,
    /// The file that holds the recipe before; nothing where the recipe is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What is another one.
    pub changes: Vec<Change>,
}

impl RunDir {
    /// What resumes changed, in their order.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn changes(&self) -> Result<Vec<Changes>> {
        let path = self.root.join(CHANGES);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let read = |line| serde_json::from_str(line);
        let lines: Result<_, _> = text.lines().map(read).collect();
        lines.with_context(|| format!("reading {}", path.display()))
    }

    /// Goes on after `step` with `recipe` in `environment`: keeps the recipe before beside it, and
    /// notes what is another one. Killed on the way and done once more, it leaves the same.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read or written.
    pub fn change(
        &self,
        step: u64,
        changes: Vec<Change>,
        recipe: &str,
        environment: &Environment,
    ) -> Result<()> {
        let mut lines = self.changes()?;
        let old = self.recipe()?;
        let is_noted =
            lines.last().is_some_and(|line| line.step == step && line.changes == changes);
        if !is_noted {
            let kept = lines.iter().filter(|line| line.recipe.is_some()).count();
            let name = (old != recipe).then(|| format!("recipe-{:04}.toml", kept + 1));
            if let Some(name) = &name {
                self.write(name, old.as_bytes())?;
            }
            lines.push(Changes { format: FORMAT, step, recipe: name, changes });
            let line = |line| serde_json::to_string(line).expect("plain fields become JSON") + "\n";
            self.write(CHANGES, lines.iter().map(line).collect::<String>().as_bytes())?;
        }
        self.write(RECIPE, recipe.as_bytes())?;
        let mut now = self.environment()?;
        now.threads = environment.threads;
        now.bf16_kernel.clone_from(&environment.bf16_kernel);
        write_json(&self.root.join(ENVIRONMENT), &now)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        write_whole(&path, bytes).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_noted_once_and_the_recipes_before_them_kept() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let environment = Environment::of_this_process(1);
        let run = RunDir::create(&root, "seed = 1\n", &environment).unwrap();
        let change = |class, then: u64, now: u64| Change {
            key: "seed".into(),
            class,
            then: Some(then.into()),
            now: Some(now.into()),
        };
        let first = vec![change(Class::Changing, 1, 2)];
        let more = Environment { threads: 3, ..environment };
        // As if killed before the recipe was replaced, and done once more.
        run.change(4, first.clone(), "seed = 2\n", &more).unwrap();
        fs::write(root.join(RECIPE), "seed = 1\n").unwrap();
        run.change(4, first.clone(), "seed = 2\n", &more).unwrap();
        run.change(5, vec![change(Class::Free, 2, 3)], "seed = 3\n", &more).unwrap();
        let changes = run.changes().unwrap();
        let steps: Vec<_> = changes.iter().map(|line| (line.step, line.recipe.clone())).collect();
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(steps, [(4, named("recipe-0001.toml")), (5, named("recipe-0002.toml"))]);
        assert_eq!(changes[0].changes, first);
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        assert_eq!(read("recipe-0001.toml"), "seed = 1\n");
        assert_eq!(read("recipe-0002.toml"), "seed = 2\n");
        assert_eq!(run.recipe().unwrap(), "seed = 3\n");
        assert_eq!(run.environment().unwrap().threads, 3);
    }
}
