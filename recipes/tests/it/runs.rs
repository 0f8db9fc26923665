//! Small runs, for the tests of everything around the steps.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use evals::run::{Folder, Sink};
use recipes::config::Recipe;
use recipes::console::Console;
use recipes::data::problems;
use recipes::policy::Policies;
use recipes::resume::CommandLine;
use recipes::search_path::SearchPath;
use recipes::signals::Stop;
use recipes::train::{Ended, Job, Options, train};

/// Two supervised steps and four of reinforcement learning, on sums of one digit.
pub(crate) const RECIPE: &str = r#"
name = "small"
seed = 3
model = { path = "builtin:atom" }
prompt = { template = { kind = "plain", text = "{problem}=" } }

[data]
train = { kind = "arithmetic", count = 60, min_digits = 1, max_digits = 1, operations = ["+"] }
held_out = { kind = "split", count = 6 }

[eval]
every = 2
sampling = { max_new_tokens = 6 }

[record]
tokens_every = 1
samples = { every = 1, groups = 2 }

[checkpoint]
every = 1
keep = 2

[[stage]]
kind = "sft"
steps = 2
batch = 8
schedule = { kind = "constant", lr = 3e-2 }

[[stage]]
kind = "rl"
steps = 4
batch = 3
group_size = 4
updates_per_step = 2
micro_batch_tokens = 40
rollout = { max_new_tokens = 6 }
rewards = [{ kind = "math" }, { kind = "length", aim = "short" }]
loss = { kl = { kind = "k3" } }
schedule = { kind = "linear", lr = 1e-3 }
"#;

/// What a test may change about a run.
#[expect(clippy::struct_excessive_bools, reason = "the command's flags")]
pub(crate) struct Run<'a> {
    pub(crate) root: &'a Path,
    pub(crate) recipe: &'a str,
    pub(crate) resume: bool,
    pub(crate) changed: bool,
    pub(crate) accept_changed_files: bool,
    pub(crate) threads: usize,
    pub(crate) stop: Stop,
    /// Whether it is asked to stop as soon as a step is recorded.
    pub(crate) one_step: bool,
    pub(crate) sink: Option<Box<dyn Sink>>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(root: &'a Path) -> Self {
        let (stop, sink) = Default::default();
        let (resume, changed, accept_changed_files) = (false, false, false);
        let (recipe, threads, one_step) = (RECIPE, 2, false);
        Self { root, recipe, resume, changed, accept_changed_files, threads, stop, one_step, sink }
    }

    pub(crate) fn resumed(root: &'a Path) -> Self {
        Self { resume: true, ..Self::new(root) }
    }

    pub(crate) fn train(self) -> anyhow::Result<Ended> {
        let recipe = Recipe::parse("small", self.recipe)?;
        let search_path = SearchPath::of_recipe(Path::new(""));
        let policies = Policies::of(&recipe, &search_path, Console::silent())?;
        let job = Job {
            recipe: &recipe,
            problems: problems(&recipe, &search_path)?,
            policies: &policies,
            threads: self.threads,
        };
        let sink = if self.one_step {
            let (folder, stop) = (Folder::new(self.root), self.stop.clone());
            Some(Box::new(StopsAfterAStep { folder, stop }) as Box<dyn Sink>)
        } else {
            self.sink
        };
        let command = CommandLine {
            words: "stearin train small.toml".into(),
            run_dir: (self.root.display().to_string(), false),
            ..CommandLine::default()
        };
        let options = Options {
            run_dir: self.root,
            resume: self.resume,
            changed: self.changed,
            accept_changed_files: self.accept_changed_files,
            stop: self.stop,
            console: Console::silent(),
            command: &command,
            sink,
        };
        train(job, options)
    }
}

/// A folder that asks the run to stop once the values of a step are written.
#[derive(Debug)]
struct StopsAfterAStep {
    folder: Folder,
    stop: Stop,
}

impl Sink for StopsAfterAStep {
    fn append(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.folder.append(file, bytes)?;
        let is_step = !bytes.starts_with(b"{\"step\":0,");
        if file == "metrics.jsonl" && is_step {
            self.stop.request();
        }
        Ok(())
    }

    fn replace(&mut self, file: &str, bytes: &[u8]) -> io::Result<()> {
        self.folder.replace(file, bytes)
    }

    fn remove(&mut self, file: &str) -> io::Result<()> {
        self.folder.remove(file)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.folder.sync()
    }
}

/// Every file of a run that equal runs have alike, by its path.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    const OWN: [&str; 5] = ["timings.jsonl", "run.json", "lock", "status.json", "log.txt"];
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if path.is_dir() {
                folders.push(path);
            } else if !OWN.contains(&name.as_str()) {
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Fails, naming the files, unless two runs left the same.
#[track_caller]
pub(crate) fn assert_equal(one: &Path, other: &Path) {
    let (one, other) = (contents(one), contents(other));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    let different: Vec<_> = one.keys().filter(|name| one[*name] != other[*name]).collect();
    assert!(different.is_empty(), "these differ: {different:?}");
}
