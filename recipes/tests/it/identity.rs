//! A run goes on with the files that it began with, or says what has changed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use recipes::train::Ended;

use crate::runs::{RECIPE, Run, contents};

/// A folder with the files of a run, and the run.
struct Begun {
    folder: tempfile::TempDir,
    recipe: String,
}

fn row(id: usize, answer: usize) -> String {
    format!(
        "{{\"id\":{id},\"problem\":\"{id}+1\",\"answer\":{answer},\"source\":\"test\",\"solution\":\"{answer}\"}}\n"
    )
}

impl Begun {
    /// A run on files that is interrupted after its first step; `change` may change its recipe.
    fn new(change: impl FnOnce(String, &Path) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let rows: String = (1..8).map(|id| row(id, id + 1)).collect();
        fs::write(path("train.jsonl"), rows).unwrap();
        fs::write(path("held.jsonl"), row(8, 9)).unwrap();
        let (begin, end) = (RECIPE.find("train = ").unwrap(), RECIPE.find("[eval]").unwrap());
        let data = format!(
            "train = {{ kind = \"jsonl\", path = {:?} }}\nheld_out = {{ kind = \"jsonl\", path = {:?} }}\n",
            path("train.jsonl"),
            path("held.jsonl")
        );
        let recipe = format!("{}{data}{}", &RECIPE[..begin], &RECIPE[end..]);
        let recipe = change(recipe, folder.path());
        let begun = Self { folder, recipe };
        let root = begun.root();
        let run = Run { recipe: &begun.recipe, one_step: true, ..Run::new(&root) };
        assert_eq!(run.train().unwrap(), Ended::Interrupted);
        begun
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.path("run")
    }

    /// Goes on for a step.
    fn resume(&self, accept_changed_files: bool) -> Result<Ended, String> {
        let root = self.root();
        let run = Run { recipe: &self.recipe, one_step: true, ..Run::resumed(&root) };
        Run { accept_changed_files, ..run }.train().map_err(|error| format!("{error:#}"))
    }

    fn environment(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.root().join("run.json")).unwrap()).unwrap()
    }

    /// Expects a refusal that names `file` and leaves the run as it is.
    #[track_caller]
    fn refused(&self, file: &str) {
        let before = (contents(&self.root()), self.environment());
        let error = self.resume(false).unwrap_err();
        assert!(error.starts_with("cannot resume ") && error.contains(file), "{error}");
        assert!(error.contains("--accept-changed-files"), "{error}");
        assert_eq!((contents(&self.root()), self.environment()), before);
    }
}

#[test]
fn a_run_on_the_same_files_goes_on_wherever_they_are_dated() {
    let run = Begun::new(|recipe, _| recipe);
    let names: Vec<_> = run.environment()["files"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["data.held_out", "data.train"], "a builtin model has no files");
    let rows = fs::read(run.path("train.jsonl")).unwrap();
    fs::remove_file(run.path("train.jsonl")).unwrap();
    fs::write(run.path("train.jsonl"), rows).unwrap();
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
    assert!(run.environment().get("accepted").is_none());
}

#[test]
fn changed_data_is_refused_until_it_is_set_back() {
    let run = Begun::new(|recipe, _| recipe);
    let rows = fs::read_to_string(run.path("train.jsonl")).unwrap();
    for changed in [
        rows.replace("1+1", "1+3"),
        rows.replace("\"answer\":2", "\"answer\":7"),
        rows.clone() + &row(9, 10),
        rows.split_inclusive('\n').skip(1).collect(),
        rows.replacen("\"source\"", " \"source\"", 1),
    ] {
        assert_ne!(changed, rows);
        fs::write(run.path("train.jsonl"), changed).unwrap();
        run.refused("data.train: ");
    }
    fs::write(run.path("train.jsonl"), &rows).unwrap();
    fs::write(run.path("held.jsonl"), row(8, 1)).unwrap();
    run.refused("data.held_out: ");
    fs::write(run.path("held.jsonl"), row(8, 9)).unwrap();
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
}

#[test]
fn accepted_changes_are_written_down_and_accepted_once() {
    let run = Begun::new(|recipe, _| recipe);
    let now = || run.environment()["files"]["data.train"]["sha256"].clone();
    let before = now();
    fs::write(run.path("train.jsonl"), (1..9).map(|id| row(id, id)).collect::<String>()).unwrap();
    run.refused("data.train");
    assert_eq!(run.resume(true), Ok(Ended::Interrupted));
    assert_ne!(now(), before);
    let accepted = run.environment()["accepted"].clone();
    assert_eq!(accepted[0]["step"], 1);
    let change = accepted[0]["changes"][0].as_str().unwrap();
    assert!(change.starts_with("data.train: ") && change.contains(&before.as_str().unwrap()[..12]));
    // From here on these are the run's files.
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
    assert_eq!(run.environment()["accepted"], accepted);
    // What is accepted is files alone.
    let recipe = run.recipe.replace("seed = 3", "seed = 4");
    let root = run.root();
    let other = Run { recipe: &recipe, accept_changed_files: true, ..Run::resumed(&root) };
    let error = other.train().unwrap_err().to_string();
    assert!(
        error.contains("changing    seed: 3 in the run, 4 now") && !error.contains("--accept"),
        "{error}"
    );
}

#[test]
fn a_changed_model_is_refused_by_file() {
    let run = Begun::new(|recipe, folder| {
        let base = folder.join("base");
        Run { one_step: true, ..Run::new(&base) }.train().unwrap();
        fs::rename(base.join("checkpoints/step-000001"), folder.join("model")).unwrap();
        recipe.replace("builtin:atom", &folder.join("model").display().to_string())
    });
    let names: Vec<_> = run.environment()["files"].as_object().unwrap().keys().cloned().collect();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        assert!(names.contains(&format!("model/{name}")), "{names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("optimizer")), "{names:?}");
    for name in ["tokenizer_config.json", "model.safetensors", "config.json"] {
        let path = run.path("model").join(name);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        // The last byte of weights, and a blank after an object.
        if name.ends_with("json") {
            changed.push(b' ');
        } else {
            *changed.last_mut().unwrap() ^= 1;
        }
        fs::write(&path, changed).unwrap();
        run.refused(&format!("model/{name}: "));
        fs::write(&path, bytes).unwrap();
    }
    fs::write(run.path("model/README.md"), "not read").unwrap();
    fs::write(run.path("model/added_tokens.json"), "{}").unwrap();
    run.refused("model/added_tokens.json: ");
    fs::remove_file(run.path("model/added_tokens.json")).unwrap();
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
}

#[cfg(unix)]
#[test]
fn a_changed_verifier_is_refused_and_what_it_writes_is_not() {
    const JUDGE: &str = r#"
        echo '{"ready": true}'
        while read -r line; do
            id=${line#*'"id":'}
            echo "$id" >> "$1"
            echo '{"id": '${id%%,*}', "reward": 1}'
        done
    "#;
    let run = Begun::new(|recipe, folder| {
        let (judge, notes) = (folder.join("judge.sh"), folder.join("notes"));
        fs::write(&judge, JUDGE).unwrap();
        let process = format!(
            "{{ kind = \"process\", command = [\"sh\", {:?}, {:?}] }}",
            judge.display().to_string(),
            notes.display().to_string()
        );
        let changed = recipe.replace(
            "[[stage]]\nkind = \"sft\"\nsteps = 2",
            "[[stage]]\nkind = \"sft\"\nsteps = 1",
        );
        changed.replace("{ kind = \"math\" }", &process)
    });
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
    assert!(run.path("notes").exists(), "the judge was asked");
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
    fs::write(run.path("judge.sh"), JUDGE.replace("1}", "2}")).unwrap();
    // Once, though the stage and the evaluation name it.
    run.refused("eval.rewards.0.command.1, stage.1.rewards.0.command.1: ");
    assert_eq!(run.resume(true), Ok(Ended::Interrupted));
}

#[cfg(feature = "hub")]
#[test]
fn a_model_of_a_hub_is_held_to_its_files_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    Run { one_step: true, ..Run::new(&path("base")) }.train().unwrap();
    let cached = path("no-cache/hub/models--us--small");
    fs::create_dir_all(cached.join("refs")).unwrap();
    fs::create_dir_all(cached.join("snapshots")).unwrap();
    fs::write(cached.join("refs/main"), "0123abc").unwrap();
    let snapshot = cached.join("snapshots/0123abc");
    fs::rename(path("base/checkpoints/step-000001"), &snapshot).unwrap();
    let recipe = RECIPE.replace("builtin:atom", "hf://us/small").replace("steps = 4", "steps = 1");
    fs::write(path("mine.toml"), recipe).unwrap();
    let stearin = |arguments: &[&str]| {
        let train = ["train", "mine.toml", "--run-dir", "run"];
        let output = crate::binary::stearin(folder.path(), &[&train, arguments].concat());
        (output.status.code(), crate::binary::stderr(&output))
    };
    let (code, said) = stearin(&[]);
    assert_eq!(code, Some(0), "{said}");
    let environment = fs::read_to_string(path("run/run.json")).unwrap();
    for name in ["model/config.json", "model/model.safetensors", "snapshots/0123abc/tokenizer.json"]
    {
        assert!(environment.contains(name), "{environment}");
    }
    let (_, said) = stearin(&["--resume"]);
    assert!(said.contains("nothing to resume"), "{said}");
    // Another revision, as after a push to the hub.
    let config = snapshot.join("tokenizer_config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "\n").unwrap();
    let (code, said) = stearin(&["--resume"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("model/tokenizer_config.json: "), "{said}");
    // Without the cache there is nothing to compare, and a checkpoint to go on from.
    fs::remove_dir_all(path("no-cache")).unwrap();
    let (_, said) = stearin(&["--resume"]);
    assert!(said.contains("the model is not in the cache"), "{said}");
    assert!(said.contains("nothing to resume"), "{said}");
}

#[test]
fn a_run_without_digests_goes_on() {
    let run = Begun::new(|recipe, _| recipe);
    let mut environment = run.environment();
    environment.as_object_mut().unwrap().remove("files");
    fs::write(run.root().join("run.json"), environment.to_string()).unwrap();
    assert_eq!(run.resume(false), Ok(Ended::Interrupted));
}
