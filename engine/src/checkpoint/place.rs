//! What a path that is no checkpoint is instead, and what to do with it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{Error, file};

const CONVERT: &str = "PyTorch's own files are not read; convert them in Python: \
                       AutoModelForCausalLM.from_pretrained(OLD).save_pretrained(NEW)";

/// The error of a folder without a `config.json`.
pub(super) fn no_config(folder: &Path) -> Error {
    let names = names(folder);
    let problem = if let Some(problem) = gguf(folder, &names).or_else(|| adapter(folder, &names)) {
        problem
    } else if names.iter().any(|name| name == "params.json") {
        "has weights in Meta's layout: take the model in Hugging Face layout, or convert it with \
         transformers' convert_llama_weights_to_hf.py"
            .into()
    } else if let Some(inner) = inner(folder) {
        format!("has no config.json; give the folder inside it, {}", inner.display())
    } else {
        "has no config.json, so it is no checkpoint in Hugging Face layout".into()
    };
    Error::File { path: folder.to_owned(), problem }
}

/// The error of a folder with a `config.json` and without weights that are read.
pub(super) fn no_weights(folder: &Path, expected: &str) -> Error {
    let names = names(folder);
    let pickled = ["bin", "pth", "pt", "ckpt"];
    let problem = if let Some(problem) = gguf(folder, &names).or_else(|| adapter(folder, &names)) {
        problem
    } else if let Some(name) = names.iter().find(|name| pickled.iter().any(|end| ends(name, end))) {
        format!("has no {expected}, but it has {name}\n{CONVERT}")
    } else if let Some(name) = names.iter().find(|name| may_be_model(name)) {
        format!("has no {expected}, but it has {name}: rename it, if it is the whole model")
    } else {
        format!("has no {expected}: its weights are missing, or in a format that is not read")
    };
    Error::File { path: folder.to_owned(), problem }
}

/// What is wrong with a file that is meant to be a GGUF file and begins as another.
pub(crate) fn not_gguf(path: &Path) -> Option<Error> {
    let mut head = Vec::new();
    // A file that cannot be read is told by whoever opens it.
    file::open(path).ok()?.take(16).read_to_end(&mut head).ok()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).display();
    let problem = match &head[..] {
        [b'G', b'G', b'U', b'F', ..] => return None,
        [_, _, _, _, _, _, _, _, b'{', ..] => {
            format!("is a safetensors file of a checkpoint: give its folder, {folder}")
        }
        [b'{', ..] => format!(
            "is a JSON file, not a model: if it belongs to a checkpoint, give its folder, {folder}"
        ),
        [b'P', b'K', 3, 4, ..] | [0x80, 2..=5, ..] => format!("is not a GGUF file\n{CONVERT}"),
        _ => return None,
    };
    Some(Error::File { path: path.to_owned(), problem })
}

/// Names of a folder's entries, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn ends(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case(extension))
}

/// Whether a file may hold weights: those of an optimizer and of an adapter have names of their
/// own.
fn may_be_model(name: &str) -> bool {
    let others = ["optimizer", "adapter", "training_args", "scheduler"];
    ends(name, "safetensors") && !others.iter().any(|other| name.starts_with(other))
}

fn gguf(folder: &Path, names: &[String]) -> Option<String> {
    let files: Vec<String> = names
        .iter()
        .filter(|name| ends(name, "gguf"))
        .map(|name| folder.join(name).display().to_string())
        .collect();
    match &files[..] {
        [] => None,
        [one] => Some(format!("is a folder that holds a GGUF file: give the file, {one}")),
        _ => Some(format!("is a folder that holds GGUF files: give one of {}", files.join(", "))),
    }
}

fn adapter(folder: &Path, names: &[String]) -> Option<String> {
    const CONFIG: &str = "adapter_config.json";
    names.iter().find(|name| *name == CONFIG)?;
    let json = file::read(&folder.join(CONFIG)).ok();
    let json = json.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let base = json.as_ref().and_then(|json| json["base_model_name_or_path"].as_str());
    Some(an_adapter(base))
}

/// What is wrong with an adapter in the place of a model; `base` is what it calls its base.
pub(super) fn an_adapter(base: Option<&str>) -> String {
    let base = base.filter(|base| !base.is_empty());
    let base = base.map_or_else(|| "its base".to_owned(), |base| format!("its base, {base},"));
    format!(
        "is an adapter, not a model\nname {base} as the model, and this by --adapter; in a recipe, by \
         model.adapter.from"
    )
}

/// The first folder inside that has a `config.json`: also in `snapshots/`, as the hub's cache has
/// it.
fn inner(folder: &Path) -> Option<PathBuf> {
    let within = |folder: PathBuf| {
        let names = names(&folder);
        names
            .into_iter()
            .map(move |name| folder.join(name))
            .find(|path| path.join("config.json").is_file())
    };
    within(folder.to_owned()).or_else(|| within(folder.join("snapshots")))
}
