//! The recipes of the entropy experiment: every method with every task.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use recipes::config::{Layer, Recipe, Stage, load};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

fn read(paths: &[&Path]) -> Recipe {
    let layers: Vec<_> = paths.iter().map(|path| Layer::file(path).unwrap()).collect();
    load(&layers, &[]).unwrap_or_else(|error| panic!("{paths:?}: {error:#}")).recipe
}

#[test]
fn every_method_goes_over_every_task() {
    for task in files("entropy") {
        let recipe = read(&[&task]);
        let text = fs::read_to_string(&task).unwrap();
        assert!(text.starts_with("#:schema ../recipe.schema.json\n"), "{}", task.display());
        assert!(!recipe.about.is_empty(), "{} says what it shows", task.display());
        assert_eq!(recipe.threads.map(Into::into), Some(1_usize), "two go side by side");
        let Stage::Rl(plain) = &recipe.stages[0] else { continue };
        for method in files("entropy/methods") {
            let with = read(&[&task, &method]);
            let Stage::Rl(stage) = &with.stages[0] else { unreachable!("the stage stays") };
            // All else is equal: what is sampled, how often, and how fast it is learned.
            assert_eq!(
                (stage.steps, stage.batch, stage.group_size, &stage.rollout, &stage.rewards),
                (plain.steps, plain.batch, plain.group_size, &plain.rollout, &plain.rewards),
            );
            assert_eq!((&stage.optim, &stage.schedule), (&plain.optim, &plain.schedule));
            assert_eq!(stage.dynamic_sampling, plain.dynamic_sampling, "{}", method.display());
            assert_eq!(stage.loss.aggregation, plain.loss.aggregation, "{}", method.display());
        }
    }
}

#[test]
fn a_task_has_the_problems_of_its_warm_policy() {
    for task in files("entropy") {
        let name = task.file_stem().unwrap().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix("-warm") else { continue };
        let other = task.with_file_name(format!("{name}.toml"));
        let [warm, rl] = [read(&[&task]), read(&[&other])];
        assert_eq!(rl.model.path, format!("runs/{}", warm.name));
        let search_path = recipes::search_path::SearchPath::of_recipe(Path::new(""));
        let of = |recipe: &Recipe| {
            recipes::data::problems(recipe, &search_path).unwrap().held_out.unwrap()
        };
        assert_eq!(of(&warm), of(&rl), "{name}");
    }
}
