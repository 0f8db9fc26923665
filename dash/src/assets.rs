//! The files of the page, embedded.

use std::sync::LazyLock;

use evals::hex;
use sha2::{Digest as _, Sha256};

/// A file of the page: its path below `assets/`, and its bytes.
type Asset = (&'static str, &'static [u8]);

macro_rules! assets {
    ($($path:literal,)*) => {
        [$(($path, include_bytes!(concat!("../assets/", $path)))),*]
    };
}

/// All of them, in the order of their paths.
static ALL: &[Asset] = &assets![
    "api.js",
    "colour.js",
    "columns.js",
    "dom.js",
    "embedded.js",
    "index.html",
    "keys.js",
    "main.js",
    "number.js",
    "panels/compare.js",
    "panels/entropy.js",
    "panels/evals.js",
    "panels/fork.js",
    "panels/groups.js",
    "panels/health.js",
    "panels/inspector.js",
    "panels/lengths.js",
    "panels/matrix.js",
    "panels/prediction.js",
    "panels/problem.js",
    "panels/quadrants.js",
    "panels/rewards.js",
    "panels/surprisal.js",
    "panels/time.js",
    "panels/tokens.js",
    "panels/tree.js",
    "panels/updates.js",
    "plot.js",
    "stack.js",
    "state.js",
    "strip.js",
    "style.css",
    "vendor/uplot-1.6.32/LICENSE",
    "vendor/uplot-1.6.32/uPlot.iife.min.js",
    "vendor/uplot-1.6.32/uPlot.min.css",
    "virtual.js",
];

/// Eight hexadecimal digits of everything: a page never mixes files of two versions.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (path, bytes) in ALL {
        hash.update(path);
        hash.update(bytes);
    }
    hex::encode(&hash.finalize()[..4])
});

/// The version of the page.
pub(crate) fn version() -> &'static str {
    &VERSION
}

/// The page.
pub(crate) fn index() -> String {
    let index = text("index.html").expect("it is embedded");
    index.replace("@ASSETS@", &format!("/assets/{}", version()))
}

/// A file as it is written, by its path below `assets/`.
pub(crate) fn text(path: &str) -> Option<&'static str> {
    let (_, bytes) = ALL.iter().find(|(own, _)| *own == path)?;
    std::str::from_utf8(bytes).ok()
}

/// A file and its media type, by its path below `assets/VERSION/`.
pub(crate) fn find(path: &str) -> Option<(&'static [u8], &'static str)> {
    let (_, bytes) = ALL.iter().find(|(own, _)| *own == path && path != "index.html")?;
    let kind = match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    Some((bytes, kind))
}

/// The modules of the page's own, with their paths.
#[cfg(test)]
pub(crate) fn modules() -> impl Iterator<Item = (&'static str, &'static str)> {
    let own = |path: &&str| path.strip_suffix(".js").is_some() && !path.starts_with("vendor/");
    ALL.iter().map(|(path, _)| *path).filter(own).filter_map(|path| Some((path, text(path)?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use evals::metrics::{TABLE, is_declared};

    use super::*;

    #[test]
    fn every_file_is_text() {
        assert!(ALL.iter().all(|(path, _)| text(path).is_some()));
    }

    fn walk(folder: &Path, found: &mut Vec<String>, root: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found, root);
            } else {
                let below = path.strip_prefix(root).unwrap();
                found.push(below.to_str().unwrap().replace('\\', "/"));
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
        let mut found = Vec::new();
        walk(&root, &mut found, &root);
        found.sort();
        assert_eq!(found, ALL.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    }

    #[test]
    fn uplot_is_the_release() {
        let digest = |path: &str| hex::encode(&Sha256::digest(find(path).unwrap().0));
        assert_eq!(
            digest("vendor/uplot-1.6.32/uPlot.iife.min.js"),
            "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
        );
        assert_eq!(
            digest("vendor/uplot-1.6.32/uPlot.min.css"),
            "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
        );
    }

    #[test]
    fn the_page_names_its_files_by_their_version() {
        let index = index();
        assert!(index.contains(&format!("src=\"/assets/{}/main.js\"", version())), "{index}");
        assert!(!index.contains('@'));
        assert!(find("index.html").is_none() && find("../Cargo.toml").is_none());
    }

    /// A panel that asks for a key which no run has would be empty for ever.
    #[test]
    fn the_panels_name_metrics_of_the_table() {
        let first = |key: &str| key.split('/').next().unwrap_or_default().to_owned();
        let firsts: BTreeSet<_> = TABLE.iter().map(|spec| first(spec.key)).collect();
        let mut named = 0;
        let own = |path: &str| path.contains(".js") && !path.starts_with("vendor/");
        for (path, bytes) in ALL.iter().filter(|(path, _)| own(path)) {
            let text = std::str::from_utf8(bytes).unwrap();
            // Every other piece is between quotes, in the lines where they are paired.
            let texts = text.lines().flat_map(|line| line.split('"').skip(1).step_by(2));
            let keys = texts.filter(|text| {
                text.contains('/') && !text.ends_with('/') && firsts.contains(&first(text))
            });
            for key in keys {
                named += 1;
                let is_known = match key.split_once('*') {
                    None => is_declared(key),
                    Some((begin, _)) => TABLE.iter().any(|spec| spec.key.starts_with(begin)),
                };
                assert!(is_known, "{path}: the table has no metric {key}");
            }
        }
        assert!(named > 50, "only {named} keys were found");
    }
}
