//! What is to be judged: benchmarks by name, files, and tasks that make their problems.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use evals::benchmark::{self, Benchmark};
use rewards::{Marker, Problem, RubricConfig, Strictness, VerifierConfig};
use toml::{Table, Value};

use crate::causes::with_causes;
use crate::config::{Columns, LONGEST_SET_NAME, Rows, Source, read_settings, source_problems};
use crate::data::{self, Located, chosen, question, repeats, rows_sha256};
use crate::names::nearest;
use crate::search_path::SearchPath;

/// Completions of a problem where no benchmark says.
const SAMPLES: usize = 4;
/// Tasks, with their settings where the command leaves them out.
const TASKS: [(&str, &str); 2] = [
    ("arithmetic", "count = 200\nmin_digits = 2\nmax_digits = 2\noperations = [\"+\", \"-\"]"),
    ("countdown", "count = 200"),
];

/// A set of problems, ready to be judged.
#[derive(Debug, Clone)]
pub struct Set {
    /// Its name, in tables and names of files.
    pub name: String,
    /// All of its problems.
    pub problems: Vec<Problem>,
    /// Numbers of those that are judged, ascending.
    pub chosen: Vec<usize>,
    /// Completions of each in the protocol `paper`.
    pub samples: usize,
    /// What judges them.
    pub rewards: RubricConfig,
    /// SHA-256 of all rows.
    pub sha256: String,
    /// How it was read, one line each.
    pub notes: Vec<String>,
}

/// Where sets are looked for.
#[derive(Debug, Clone)]
pub struct Finding {
    /// A folder with `NAME.jsonl` for benchmarks.
    pub folder: Option<PathBuf>,
    /// Problems of each set, at most.
    pub limit: Option<NonZeroUsize>,
    /// How strictly answers to math problems are judged.
    pub strictness: Strictness,
}

impl Finding {
    /// The sets that arguments name, each a list with commas between: names of benchmarks, files,
    /// tasks with settings.
    ///
    /// # Errors
    ///
    /// Fails on a name that is nothing of these, on a file that cannot be read, on rows that are
    /// not those of the benchmark, and on two sets of one name.
    pub fn sets(&self, arguments: &[String]) -> Result<Vec<Set>> {
        let items = items(arguments);
        let mut sets: Vec<Set> = Vec::new();
        for item in &items {
            let set = self.set(item).with_context(|| format!("--bench {item}"))?;
            if set.name.len() > LONGEST_SET_NAME {
                bail!(
                    "--bench {item}: expected a name of at most {LONGEST_SET_NAME} bytes, since results \
                     are stored under it, got {}; rename the file",
                    set.name.len()
                );
            }
            if sets.iter().any(|other| other.name == set.name) {
                let is_task = TASKS.iter().any(|(task, _)| *task == set.name);
                let act =
                    if is_task { "evaluate each into its own --out" } else { "rename the file" };
                bail!("--bench {item}: the name `{}` stands for another set, too; {act}", set.name);
            }
            sets.push(set);
        }
        if sets.is_empty() {
            bail!("--bench: expected the name of a benchmark, a file or a task, got nothing");
        }
        Ok(sets)
    }

    fn set(&self, item: &str) -> Result<Set> {
        let (name, settings) = item.split_once(':').unwrap_or((item, ""));
        if let Some(benchmark) = benchmark::find(item) {
            return self.benchmark(benchmark);
        }
        if let Some((_, defaults)) = TASKS.iter().find(|(task, _)| *task == name) {
            return self.task(name, defaults, settings);
        }
        let path = Path::new(item);
        if path.extension().is_some_and(|extension| extension == "toml") {
            let source: Source = read_settings(path, "source of problems")?;
            let name = stem(path);
            if let [first, ..] = source_problems(&name, &source).as_slice() {
                bail!("{first}");
            }
            let folder = path.parent().unwrap_or(Path::new(""));
            return self.made(&name, &source, &SearchPath::of_recipe(folder), 1, SAMPLES);
        }
        let is_address = item.starts_with("hf://");
        if !is_address && !item.contains('*') && SearchPath::of_command().find(item).is_none() {
            bail!("{}", unknown(item));
        }
        let made = self.made(&stem(path), &rows_of(item), &SearchPath::of_command(), 1, SAMPLES);
        made.map_err(|error| {
            let problem = with_causes(&error);
            // An address, a pattern and a folder need more than these lines.
            if !problem.contains("columns.") || path.file_name().is_none() || is_address {
                return error;
            }
            anyhow!("{problem}\n{}", source_file(path))
        })
    }

    fn benchmark(&self, benchmark: &'static Benchmark) -> Result<Set> {
        let located = Located::new(benchmark, self.folder.as_deref())?;
        let Benchmark { name, samples, .. } = benchmark;
        let set = self.made(name, &located.source, &SearchPath::of_command(), 1, *samples);
        let set = set.with_context(|| located.reading())?;
        located.check(&set.problems)?;
        Ok(set)
    }

    fn task(&self, name: &str, defaults: &str, settings: &str) -> Result<Set> {
        let defaults: Table = defaults.parse().expect("the settings are TOML");
        // `kind` comes first, where its reader wants it.
        let mut table = Table::from_iter([("kind".to_owned(), Value::from(name))]);
        table.extend(defaults);
        let mut seed = 1;
        for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
            let (key, value) = setting
                .split_once('=')
                .with_context(|| format!("expected KEY=VALUE, got `{setting}`"))?;
            match key {
                "seed" => {
                    seed = value
                        .parse()
                        .with_context(|| format!("seed: expected a whole number, got `{value}`"))?;
                }
                "operations" => {
                    let signs = value.chars().map(|sign| Value::from(sign.to_string()));
                    table.insert(key.into(), Value::Array(signs.collect()));
                }
                _ => {
                    let number: Option<Table> = format!("value = {value}").parse().ok();
                    let number = number.and_then(|mut table| table.remove("value"));
                    table.insert(key.into(), number.unwrap_or_else(|| value.into()));
                }
            }
        }
        let source = Value::Table(table).try_into();
        let source: Source = source.with_context(|| format!("settings of the task `{name}`"))?;
        if let [first, ..] = source_problems(name, &source).as_slice() {
            bail!("{first}");
        }
        self.made(name, &source, &SearchPath::of_command(), seed, SAMPLES)
    }

    fn made(
        &self,
        name: &str,
        source: &Source,
        search_path: &SearchPath,
        seed: u64,
        samples: usize,
    ) -> Result<Set> {
        let rewards = rewards(source, self.strictness);
        let reader = "the grader".to_owned();
        let answers = matches!(rewards.0[0], VerifierConfig::Math { .. }).then_some(&*reader);
        let (problems, _, mut notes) = data::source(name, source, search_path, answers, seed)?;
        let chosen = chosen(problems.len(), self.limit);
        let judged = chosen.iter().map(|&number| question(&problems[number]));
        notes.extend(repeats(name, judged).map(|repeats| format!("note: {repeats}")));
        Ok(Set {
            name: name.to_owned(),
            chosen,
            sha256: rows_sha256(&problems),
            problems,
            samples,
            rewards,
            notes,
        })
    }
}

/// What judges the problems of a source.
fn rewards(source: &Source, strictness: Strictness) -> RubricConfig {
    let verifier = match source {
        Source::Countdown(_) => VerifierConfig::Countdown { weight: 1.0 },
        _ => VerifierConfig::Math { weight: 1.0, strictness, marker: Marker::Boxed },
    };
    RubricConfig(vec![verifier])
}

/// The parts of lists with commas between; a setting after a comma belongs to its task.
fn items(arguments: &[String]) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for argument in arguments {
        let mut in_task = false;
        for part in argument.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let is_setting = in_task && part.contains('=') && !part.contains(':');
            match items.last_mut().filter(|_| is_setting) {
                Some(task) => {
                    task.push(',');
                    task.push_str(part);
                }
                None => items.push(part.to_owned()),
            }
            let is_task = |(task, _): &(&str, _)| part.starts_with(&format!("{task}:"));
            in_task = is_setting || TASKS.iter().any(is_task);
        }
    }
    items
}

/// Rows of a file, a folder, a pattern or an address.
pub(super) fn rows_of(path: &str) -> Source {
    let (path, columns) = (path.to_owned(), Columns::default());
    Source::File(Rows { path, limit: None, columns, answer_from: None })
}

/// The name of a file without its extension, as it may stand in the name of another.
fn stem(path: &Path) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name = |part: &OsStr| -> String {
        let name: String = part.to_string_lossy().chars().map(plain).collect();
        name.trim_start_matches('.').trim_matches('-').to_owned()
    };
    // A pattern may have no letter: then it is all of its folder. A folder such as `..` has a name
    // in its whole path alone.
    let whole = path.canonicalize().unwrap_or_default();
    let parts = [path.file_stem(), path.parent().and_then(Path::file_name), whole.file_stem()];
    let found = parts.into_iter().flatten().map(name).find(|name| !name.is_empty());
    found.unwrap_or_else(|| "rows".to_owned())
}

/// How to name the columns of a file of rows.
fn source_file(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "to do so, write a file beside it, such as {}, and give that to --bench:\n  \
         kind = \"file\"\n  path = {file:?}\n  \
         columns = {{ problem = \"...\", answer = \"...\" }}",
        path.with_extension("toml").display()
    )
}

fn unknown(item: &str) -> String {
    let names: Vec<_> = benchmark::all().iter().map(|one| one.name.as_str()).collect();
    let known = names.iter().copied().chain(TASKS.iter().map(|(task, _)| *task));
    let hint = nearest(item, known.clone())
        .map_or_else(String::new, |name| format!("\ndid you mean `{name}`?"));
    let known: Vec<_> = known.collect();
    format!(
        "there is no benchmark, task or file of that name in {}; there are: {}{hint}",
        SearchPath::of_command().describe(),
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_folder(folder: Option<&Path>) -> Finding {
        let folder = folder.map(Path::to_owned);
        Finding { folder, limit: None, strictness: Strictness::Eval }
    }

    #[test]
    fn commas_part_items_and_settings_stay_with_their_task() {
        let found = items(&[
            "aime24, countdown:numbers=4,seed=1,math500".into(),
            "arithmetic:count=9,operations=+,countdown:seed=2".into(),
            "a=b.jsonl,c.jsonl".into(),
        ]);
        let expected = [
            "aime24",
            "countdown:numbers=4,seed=1",
            "math500",
            "arithmetic:count=9,operations=+",
            "countdown:seed=2",
            "a=b.jsonl",
            "c.jsonl",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn benchmarks_are_found_in_the_folder_of_the_data() {
        let Some(folder) = std::env::var_os("STEARIN_DATA").map(PathBuf::from) else {
            println!("skipped: set STEARIN_DATA to a folder with aime24.jsonl and others");
            return;
        };
        let finding = Finding { limit: NonZeroUsize::new(7), ..in_folder(Some(&folder)) };
        let mut read = 0;
        for known in benchmark::all() {
            let name = &known.name;
            let is_here = |file: &str| {
                ["", "data"].iter().any(|below| folder.join(below).join(file).is_file())
            };
            if !is_here(&format!("{name}.jsonl")) && !is_here(&format!("{name}_test.jsonl")) {
                continue;
            }
            let set = finding.sets(std::slice::from_ref(name)).unwrap().remove(0);
            assert_eq!((&set.name, set.problems.len()), (&known.name, known.problems));
            assert_eq!((set.chosen.len(), set.samples), (7, known.samples));
            let unreadable = set.problems.iter().filter(|problem| {
                let one = problem.answer.as_str();
                rewards::equivalent(one, one, Strictness::Eval) != rewards::Equivalence::Equal
            });
            assert_eq!(unreadable.count(), 0, "{name}");
            read += 1;
        }
        println!("{read} benchmarks are in {}", folder.display());
    }

    #[test]
    fn a_benchmark_that_is_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let finding = in_folder(Some(folder.path()));
        let row = "{\"id\": \"a\", \"problem\": \"1+1\", \"answer\": \"2\"}\n";
        std::fs::write(folder.path().join("minerva.jsonl"), row).unwrap();
        let error = format!("{:#}", finding.sets(&["minerva".into()]).unwrap_err());
        assert!(error.contains("expected the 272 problems of minerva, got 1"), "{error}");
    }

    #[test]
    fn a_table_of_columns_reads_other_files() {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.csv");
        std::fs::write(&rows, "frage,loesung,level\n1+1,2,3\n2+2,4,1\n").unwrap();
        let table = folder.path().join("mine.toml");
        let text = format!(
            "kind = \"file\"\npath = {:?}\ncolumns = {{ problem = \"frage\", answer = \"loesung\" }}",
            rows.display().to_string()
        );
        std::fs::write(&table, text).unwrap();
        let finding = in_folder(None);
        let sets = finding.sets(&[table.display().to_string()]).unwrap();
        assert_eq!((sets[0].name.as_str(), sets[0].problems.len()), ("mine", 2));
        assert_eq!(sets[0].problems[1].answer, "4");
        assert_eq!(sets[0].problems[0].columns["level"], "3");
    }

    #[test]
    fn tasks_are_made_by_their_settings_or_refused() {
        let finding = in_folder(None);
        let one = |text: &str| finding.sets(&[text.to_owned()]);
        let sums = one("arithmetic:count=12,min_digits=1,operations=+,seed=3").unwrap();
        assert_eq!(sums[0].problems.len(), 12);
        assert!(sums[0].problems.iter().all(|problem| problem.problem.contains('+')));
        let other = one("arithmetic:count=12,min_digits=1,operations=+,seed=4").unwrap();
        assert_ne!(sums[0].sha256, other[0].sha256);
        assert!(matches!(
            one("countdown:count=5").unwrap()[0].rewards.0[0],
            VerifierConfig::Countdown { .. }
        ));
        for (text, expected) in [
            ("arithmetic:count", "expected KEY=VALUE, got `count`"),
            ("arithmetic:slip=1", "unknown field `slip`"),
            ("arithmetic:min_digits=3", "min_digits: 3 is more than max_digits"),
            ("countdown:numbers=9", "numbers: expected 2 to 6, got 9"),
            ("maths500", "did you mean `math500`?"),
            ("countdown,countdown:seed=2", "stands for another set, too; evaluate each into its"),
            ("", "got nothing"),
        ] {
            let error = format!("{:#}", one(text).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
