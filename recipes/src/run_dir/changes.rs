//! What resumes changed: `changes.jsonl`, and the recipes that were replaced.

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use engine::file;
use evals::run::{Change, Changes, FORMAT, Facts, Problem, read_changes, read_file, write_whole};

use super::{FACTS, RECIPE, RunDir, write_json};

pub(super) const CHANGES: &str = "changes.jsonl";

/// The name of the recipe before the change of this number, counted from 1.
fn recipe_name(number: usize) -> String {
    format!("recipe-{number:04}.toml")
}

/// Whether a file of this name is the recipe before a change.
pub(super) fn kept_recipe(name: &str) -> bool {
    number_of(name).is_some()
}

/// The number of the change before which a file of this name was the recipe.
fn number_of(name: &str) -> Option<usize> {
    let number = name.strip_prefix("recipe-").and_then(|rest| rest.strip_suffix(".toml"));
    number?.parse().ok().filter(|number| recipe_name(*number) == name)
}

impl RunDir {
    /// What resumes changed, in their order.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn changes(&self) -> Result<Vec<Changes>> {
        let path = self.root.join(CHANGES);
        let mut read = read_changes(&path)?;
        // It is written whole, so that nobody can be writing its last line.
        if read_file(&path)?.is_some_and(|bytes| bytes.last().is_some_and(|last| *last != b'\n')) {
            bail!(
                "{}, line {}: expected a whole line, got one without its end\nrestore the file from a \
                 copy, or remove the line to go on without what it says",
                path.display(),
                read.lines.len() + read.problems.len() + 1
            );
        }
        // A reader skips such a line; a run would lose what it says.
        match read.problems.pop() {
            Some(Problem { file, line, reason, .. }) => {
                let line = line.map_or_else(String::new, |line| format!(", line {line}"));
                bail!(
                    "{file}{line}: {reason}\nrestore the file from a copy, or remove the line to go on \
                     without what it says"
                )
            }
            None => Ok(read.lines),
        }
    }

    /// Goes on after `step` with `recipe` in the process `now`: keeps the recipe before beside it,
    /// and notes what is another one. Killed on the way and done once more, it leaves the same.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read or written.
    pub fn change(&self, step: u64, changes: Vec<Change>, recipe: &str, now: &Facts) -> Result<()> {
        let mut lines = self.settle()?;
        let old = self.recipe()?;
        let has_new_verifiers = changes.iter().any(|change| change.key.contains("rewards"));
        let is_noted =
            lines.last().is_some_and(|line| line.step == step && line.changes == changes);
        if !is_noted {
            let name = (old != recipe).then(|| recipe_name(self.numbers(&lines).end));
            if let Some(name) = &name {
                self.write(name, old.as_bytes())?;
            }
            lines.push(Changes { format: FORMAT, step, recipe: name, changes });
            self.write_changes(&lines)?;
        }
        self.write(RECIPE, recipe.as_bytes())?;
        let mut facts = self.facts()?;
        facts.threads = now.threads;
        facts.bf16_kernel.clone_from(&now.bf16_kernel);
        facts.recorded_groups.clone_from(&now.recorded_groups);
        if let (true, Some(files), Some(now)) = (has_new_verifiers, &mut facts.files, &now.files) {
            // Those of a verifier that the run did not have; others are as they were accepted.
            for (name, digest) in &now.0 {
                files.0.entry(name.clone()).or_insert_with(|| digest.clone());
            }
        }
        write_json(&self.root.join(FACTS), &facts)
    }

    /// Takes back a change that was noted and not made, as a kill between the two leaves it: the
    /// recipe is still the one that is kept as that before. Returns the changes that were made.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be read or written.
    pub fn settle(&self) -> Result<Vec<Changes>> {
        let (mut lines, own) = (self.changes()?, self.recipe()?);
        let is_kept = |name: &String| {
            file::read_to_string(&self.root.join(name)).is_ok_and(|kept| kept == own)
        };
        if lines.last().is_some_and(|line| line.recipe.as_ref().is_some_and(is_kept)) {
            lines.pop();
            self.write_changes(&lines)?;
        }
        // It wrote the last of them. The others are the user's, as is one that says something else.
        let left = self.numbers(&lines).next_back().map(recipe_name).filter(is_kept);
        if let Some(name) = left {
            fs::remove_file(self.root.join(name))
                .with_context(|| format!("removing what a kill left in {}", self.root.display()))?;
        }
        Ok(lines)
    }

    /// The numbers after those of `lines` under which there are files already; the end is free.
    fn numbers(&self, lines: &[Changes]) -> Range<usize> {
        let kept = lines.iter().filter_map(|line| number_of(line.recipe.as_deref()?));
        let first = kept.max().map_or(1, |number| number.saturating_add(1));
        let mut end = first;
        while self.root.join(recipe_name(end)).exists() {
            end += 1;
        }
        first..end
    }

    fn write_changes(&self, lines: &[Changes]) -> Result<()> {
        let path = self.root.join(CHANGES);
        if lines.is_empty() {
            return fs::remove_file(&path).with_context(|| format!("removing {}", path.display()));
        }
        let line = |line| serde_json::to_string(line).expect("plain fields become JSON") + "\n";
        self.write(CHANGES, lines.iter().map(line).collect::<String>().as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.root.join(name);
        write_whole(&path, bytes).with_context(|| format!("writing {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use evals::run::{Class, Digest, Files};

    use super::*;
    use crate::run_dir::of_this_process;

    #[test]
    fn a_line_that_is_not_whole_is_refused_and_kept() {
        let temp = tempfile::tempdir().unwrap();
        let run =
            RunDir::create(&temp.path().join("a"), "seed = 1\n", &of_this_process(1)).unwrap();
        run.change(4, Vec::new(), "seed = 2\n", &of_this_process(1)).unwrap();
        let path = run.root().join(CHANGES);
        let whole = fs::read_to_string(&path).unwrap();
        for torn in [whole.trim_end().to_owned(), whole[..whole.len() / 2].to_owned()] {
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            let error = run.change(5, Vec::new(), "seed = 3\n", &of_this_process(1)).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("changes.jsonl, line 2: expected a whole line"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{whole}{torn}"));
            assert_eq!(run.recipe().unwrap(), "seed = 2\n");
        }
        fs::write(&path, format!("{whole}{{\n")).unwrap();
        let error = format!("{:#}", run.changes().unwrap_err());
        assert!(error.contains("changes.jsonl") && error.contains('2'), "{error}");
    }

    #[test]
    fn changes_are_noted_once_and_the_recipes_before_them_kept() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let facts = of_this_process(1);
        let run = RunDir::create(&root, "seed = 1\n", &facts).unwrap();
        let change = |class, then: u64, now: u64| Change {
            key: "seed".into(),
            class,
            then: Some(then.into()),
            now: Some(now.into()),
        };
        let first = vec![change(Class::Changing, 1, 2)];
        let more = Facts { threads: 3, recorded_groups: vec![0, 5], ..facts };
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
        let facts = run.facts().unwrap();
        assert_eq!((facts.threads, facts.recorded_groups), (3, vec![0, 5]));
    }

    #[test]
    fn a_change_that_a_kill_kept_from_being_made_is_taken_back() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let facts = of_this_process(1);
        let run = RunDir::create(&root, "seed = 1\n", &facts).unwrap();
        let names = || {
            let paths = super::super::entries(&root).unwrap().into_iter();
            paths.map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let before = names();
        run.change(4, Vec::new(), "seed = 2\n", &facts).unwrap();
        assert_eq!(run.settle().unwrap().len(), 1, "one that was made stays");
        // As a kill leaves it between the two.
        fs::write(root.join(RECIPE), "seed = 1\n").unwrap();
        assert_eq!(run.settle().unwrap(), []);
        assert_eq!(names(), before);
        // As it leaves it before the note.
        fs::write(root.join("recipe-0001.toml"), "seed = 1\n").unwrap();
        assert_eq!(run.settle().unwrap(), []);
        assert_eq!(names(), before);
    }

    #[test]
    fn files_of_the_users_with_the_name_of_a_kept_recipe_stay() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("a");
        let facts = of_this_process(1);
        let run = RunDir::create(&root, "seed = 1\n", &facts).unwrap();
        let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
        fs::write(root.join("recipe-0001.toml"), "my own\n").unwrap();
        assert_eq!(run.settle().unwrap(), []);
        run.change(4, Vec::new(), "seed = 2\n", &facts).unwrap();
        let [line] = &run.changes().unwrap()[..] else { panic!("one change") };
        assert_eq!(line.recipe.as_deref(), Some("recipe-0002.toml"));
        // As a kill leaves it before the note of a second change, and between the two.
        fs::write(root.join("recipe-0003.toml"), "seed = 2\n").unwrap();
        assert_eq!(run.settle().unwrap().len(), 1);
        assert!(!root.join("recipe-0003.toml").exists());
        fs::write(root.join(RECIPE), "seed = 1\n").unwrap();
        assert_eq!(run.settle().unwrap(), []);
        assert!(!root.join("recipe-0002.toml").exists());
        assert_eq!(read("recipe-0001.toml"), "my own\n");
    }

    #[test]
    fn the_files_of_a_new_verifier_are_those_of_the_run() {
        let temp = tempfile::tempdir().unwrap();
        let digest = |sha256: &str| Digest { path: "p".into(), bytes: 1, sha256: sha256.into() };
        let files = |all: &[(&str, &str)]| {
            let all = all.iter().map(|(name, sha256)| ((*name).to_owned(), digest(sha256)));
            Some(Files(all.collect()))
        };
        let facts = Facts { files: files(&[("data.train", "a")]), ..of_this_process(1) };
        let run = RunDir::create(&temp.path().join("a"), "seed = 1\n", &facts).unwrap();
        let judge = "stage.0.rewards.0.command.1";
        let now = Facts { files: files(&[("data.train", "b"), (judge, "c")]), ..facts };
        let change = |key: &str| {
            let change = Change { key: key.into(), class: Class::Changing, then: None, now: None };
            run.change(4, vec![change], "seed = 2\n", &now).unwrap();
            run.facts().unwrap().files
        };
        assert_eq!(change("seed"), files(&[("data.train", "a")]));
        // What was accepted or not of other files is none of this.
        let expected = files(&[("data.train", "a"), (judge, "c")]);
        assert_eq!(change("stage.0.rewards.0.command"), expected);
    }
}
