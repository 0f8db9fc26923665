//! The texts of another trainer's ids, by the tokenizer of its model.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use engine::file;
use engine::text::Text;
use evals::run::Spell;
use serde_json::Value;

/// A tokenizer.
#[derive(Debug)]
struct Tokenizer(Text);

impl Spell for Tokenizer {
    fn spell(&self, ids: &[u32]) -> Option<(String, Vec<u32>)> {
        let shown = BTreeSet::new();
        let text = self.0.decode_without(ids, &shown).ok()?;
        let ends = self.0.token_ends(ids, &shown, &text).ok()?;
        Some((text, ends))
    }
}

/// The tokenizer that `--tokenizer` names, if it does.
///
/// # Errors
///
/// Fails where [`tokenizer`] does.
pub fn optional(path: Option<&Path>) -> Result<Option<Arc<dyn Spell>>> {
    path.map(tokenizer).transpose().context("--tokenizer")
}

/// The tokenizer at `path`: a `tokenizer.json`, or the folder of a model that has one.
///
/// # Errors
///
/// Fails where there is none, or it cannot be read.
pub fn tokenizer(path: &Path) -> Result<Arc<dyn Spell>> {
    const NAME: &str = "tokenizer.json";
    let folder = match path.parent() {
        _ if path.is_dir() => path,
        Some(folder) if path.is_file() && path.file_name().is_some_and(|name| name == NAME) => {
            folder
        }
        _ => bail!("{}: expected a {NAME}, or the folder of a model that has one", path.display()),
    };
    let config = match file::read(&folder.join("config.json")) {
        Ok(bytes) => serde_json::from_slice(&bytes).context("config.json beside the tokenizer")?,
        // A tokenizer alone has none.
        Err(_) => Value::Null,
    };
    Ok(Arc::new(Tokenizer(Text::from_folder(folder, &config)?)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evals::run::Foreign;
    use serde_json::json;

    use super::*;
    use crate::config::{DTypeChoice, DeviceChoice};
    use crate::policy::{self, Compute};
    use crate::search_path::SearchPath;

    #[test]
    fn ids_of_another_trainer_have_the_texts_of_the_tokenizer() {
        let temp = tempfile::tempdir().unwrap();
        let compute = Compute::new(DeviceChoice::Cpu, DTypeChoice::F32).unwrap();
        let atom = policy::locate("builtin:atom", &SearchPath::of_command()).unwrap();
        let (_, text) = atom.open("builtin:atom", 1, &compute).unwrap();
        for (name, content) in text.to_files().unwrap() {
            fs::write(temp.path().join(name), content).unwrap();
        }
        let ids = [text.encode("3+4=").unwrap(), text.encode("7").unwrap()];
        let count = ids.concat().len();
        let mask: Vec<_> = (0..count).map(|at| at >= ids[0].len()).collect();
        let line = json!({
            "schema_version": 1, "token_ids": ids.concat(), "loss_mask": mask,
            "rewards": vec![1.0; count], "env_name": "sums",
        });
        let run = temp.path().join("run");
        let step = run.join("token_exports/step_1");
        fs::create_dir_all(&step).unwrap();
        fs::write(step.join("rank_0.jsonl"), format!("{line}\n")).unwrap();
        fs::write(step.join("STABLE"), "").unwrap();
        let shown = |tokenizer| {
            let mut run = Foreign::find_with(&run, tokenizer).unwrap();
            run.poll();
            let group = run.samples().group(&run.index()[0]).unwrap();
            (group.prompt, group.completions[0].text.clone())
        };
        for path in [temp.path().to_owned(), temp.path().join("tokenizer.json")] {
            let spelled = shown(optional(Some(&path)).unwrap());
            assert_eq!(spelled, ("3+4=".to_owned(), "7".to_owned()));
        }
        assert_eq!(shown(None).1, format!("{} ", ids[1][0]));
        let error = optional(Some(&temp.path().join("none"))).unwrap_err();
        assert!(format!("{error:#}").starts_with("--tokenizer: "), "{error:#}");
    }
}
