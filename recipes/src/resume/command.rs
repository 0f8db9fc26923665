//! Commands of `stearin train`, as messages print them.

use std::fmt;

use crate::printable::quoted;

/// A command of `stearin train` without its flags for resuming.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// The program, the recipe and its overlays, as a shell reads them.
    pub words: String,
    /// The settings of `--set`.
    pub settings: Vec<String>,
    /// The run's folder, and whether it was given.
    pub run_dir: (String, bool),
    /// The kinds of the recipe's stages: one of a kind may go by it in place of its number.
    pub kinds: Vec<&'static str>,
}

impl CommandLine {
    /// The command with `settings` in addition; each takes the place of one of the same key.
    fn with(&self, settings: &[String]) -> String {
        let mut all: Vec<(String, &String)> = Vec::new();
        for setting in self.settings.iter().chain(settings) {
            let key = self.key(setting);
            all.retain(|(known, _)| *known != key);
            all.push((key, setting));
        }
        let mut words = vec![self.words.clone()];
        words.extend(all.iter().map(|(_, setting)| format!("--set {}", quoted(setting))));
        let (folder, is_given) = &self.run_dir;
        // Without it, the folder is named after the run.
        if *is_given || settings.iter().any(|setting| self.key(setting) == "name") {
            words.push(format!("--run-dir {}", quoted(folder)));
        }
        words.join(" ")
    }

    /// The key of a setting, with the number of its stage.
    fn key(&self, setting: &str) -> String {
        let key = setting.split_once('=').map_or(setting, |(key, _)| key);
        let key: String = key.chars().filter(|c| !c.is_whitespace()).collect();
        let stage = key.strip_prefix("stage.").and_then(|rest| rest.split_once('.'));
        let at = stage.and_then(|(kind, _)| self.kinds.iter().position(|own| *own == kind));
        match (stage, at) {
            (Some((_, rest)), Some(at)) => format!("stage.{at}.{rest}"),
            _ => key,
        }
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with(&[]))
    }
}

/// How to resume a run, for messages.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The command, without its flags for resuming.
    pub line: &'a CommandLine,
    /// Whether settings may be others that change the steps to come.
    pub changed: bool,
    /// Whether files may be others.
    pub changed_files: bool,
}

impl Command<'_> {
    /// The whole command, with `settings` in addition.
    pub fn resume(&self, settings: &[String]) -> String {
        let mut words = vec![self.line.with(settings), "--resume".to_owned()];
        if self.changed {
            words.push("--changed".to_owned());
        }
        if self.changed_files {
            words.push("--accept-changed-files".to_owned());
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_has_each_key_once_and_the_last_value() {
        let settings = ["seed=1", "stage.rl.steps = 3", "seed=2", "stage.sft.lr=1"];
        let line = CommandLine {
            words: "stearin train a.toml".into(),
            settings: settings.map(str::to_owned).into(),
            run_dir: ("runs/a".into(), false),
            kinds: vec!["sft", "rl"],
        };
        let expected = "--set 'stage.rl.steps = 3' --set seed=2 --set stage.sft.lr=1";
        assert_eq!(line.to_string(), format!("stearin train a.toml {expected}"));
        let command = Command { line: &line, changed: true, changed_files: false };
        let resumed = command.resume(&["stage.1.steps=6".into(), "seed=3".into()]);
        let expected = "--set stage.sft.lr=1 --set stage.1.steps=6 --set seed=3";
        assert_eq!(resumed, format!("stearin train a.toml {expected} --resume --changed"));
        // A run of another name is in the folder where it is.
        assert!(command.resume(&["name=b".into()]).contains("name=b --run-dir runs/a --resume"));
    }
}
