//! Where the files of a recipe's problems are, before they are read.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::files;
use crate::config::{HeldOut, Recipe, Rows};
use crate::search_path::SearchPath;

/// The files of problems that are nowhere to be found, as the recipe names them.
pub fn missing<'a>(recipe: &'a Recipe, search_path: &SearchPath) -> Vec<&'a str> {
    let paths = rows(recipe).into_iter().map(|(_, rows)| rows.path.as_str());
    paths.filter(|path| !files::is_here(path, search_path)).collect()
}

/// A file of problems on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// The key of the source that it is of.
    pub key: String,
    /// Where it was found.
    pub path: PathBuf,
    /// Rows that are taken of the whole source, from its start. `None`: all.
    pub limit: Option<NonZeroUsize>,
}

/// The files of problems on this machine, as they are found.
pub fn located(recipe: &Recipe, search_path: &SearchPath) -> Vec<DataFile> {
    let here = |(key, rows): (String, &Rows)| {
        let (found, limit) = (files::here(&rows.path, search_path), rows.limit);
        found.into_iter().map(move |path| DataFile { key: key.clone(), path, limit })
    };
    rows(recipe).into_iter().flat_map(here).collect()
}

/// Everything that is read from files, with its key.
fn rows(recipe: &Recipe) -> Vec<(String, &Rows)> {
    let own = recipe.stages.iter().enumerate().filter_map(|(index, stage)| {
        Some((format!("stage.{index}.data.train"), &stage.settings().data()?.train))
    });
    let train = [("data.train".to_owned(), &recipe.data.train)].into_iter().chain(own);
    let train = train.flat_map(|(key, train)| {
        let sources = train.sources().into_iter();
        sources.filter_map(move |(at, _, source)| Some((format!("{key}{at}"), source.rows()?.0)))
    });
    let held_out = recipe.data.held_out.as_ref().and_then(HeldOut::rows);
    let held_out = held_out.map(|(rows, _)| ("data.held_out".to_owned(), rows));
    let sets = recipe.eval.sets.iter().enumerate().filter_map(|(at, set)| {
        Some((format!("eval.set.{at}.data"), set.data.as_ref()?.rows()?.0))
    });
    train.chain(held_out).chain(sets).collect()
}
