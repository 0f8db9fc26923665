//! `run.json` of this process.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use engine::text::Text;
use engine::{Model, Module, Scaling, Weights};
use evals::run::{AdapterFacts, FORMAT, Facts, ModelFacts};
use settings::number;

use crate::config::{DTypeChoice, DeviceChoice};
use crate::identity::sha256;
use crate::machine::now;
use crate::printable::thousands;

/// A run that this process begins, computing with `threads` threads; what is of its recipe is left
/// open.
pub fn of_this_process(threads: usize) -> Facts {
    Facts {
        format: FORMAT,
        kind: "train".into(),
        name: String::new(),
        // The standard library draws the keys of its hash maps from the system.
        id: format!("{:016x}", RandomState::new().hash_one(std::process::id())),
        created: now() as u64,
        command: String::new(),
        seed: 0,
        stearin: env!("CARGO_PKG_VERSION").into(),
        commit: env!("STEARIN_COMMIT").into(),
        dirty: !env!("STEARIN_DIRTY").is_empty(),
        rustc: env!("STEARIN_RUSTC").into(),
        candle: env!("STEARIN_CANDLE").into(),
        os: std::env::consts::OS.into(),
        arch: std::env::consts::ARCH.into(),
        cpu_features: cpu_features(),
        threads,
        device: String::new(),
        bf16_kernel: None,
        model: None,
        problems: std::collections::BTreeMap::default(),
        recorded_groups: Vec::new(),
        files: None,
        accepted: Vec::new(),
    }
}

/// What is known of the model that a command names `path`, with an adapter that was read from
/// `adapter`.
pub fn of_model(path: &str, adapter: Option<&Path>, model: &Model, text: &Text) -> ModelFacts {
    let written = |&id: &u32| Some((id, text.tokenizer().id_to_token(id)?));
    let mut parameters = 0;
    Weights::of(model.config())
        .visit(|spec| parameters += spec.shape.iter().product::<usize>() as u64);
    let adapter = model.adapter().map(|own| AdapterFacts {
        path: adapter.map(|path| path.display().to_string()),
        rank: own.config().rank,
        alpha: Some(own.config().alpha),
        scaling: Some(own.config().scaling.name().to_owned()),
        targets: own.config().targets.iter().map(|target| target.name().to_owned()).collect(),
        parameters: own.parameters().iter().map(|(_, one)| one.elem_count() as u64).sum(),
    });
    ModelFacts {
        path: path.to_owned(),
        family: format!("{:?}", model.config().family).to_lowercase(),
        parameters,
        adapter,
        tokenizer_sha256: tokenizer_sha256(text),
        stop_tokens: text.stop_tokens().iter().filter_map(written).collect(),
    }
}

/// What is trained of a model with an adapter, in words; nothing where all weights are.
pub fn trained(model: &ModelFacts) -> Option<String> {
    let AdapterFacts { path, rank, alpha, scaling, targets, parameters } =
        model.adapter.as_ref()?;
    let mut parts = vec![format!("rank {rank}")];
    parts.extend(alpha.map(|alpha| format!("alpha {}", number(alpha))));
    let scaling = scaling.as_deref().filter(|scaling| *scaling != Scaling::default().name());
    parts.extend(scaling.map(|scaling| format!("scaling {scaling}")));
    let is_all = targets.len() == Module::ALL.len();
    parts.push(if is_all { "all-linear".to_owned() } else { targets.join(", ") });
    let start = path.as_ref().map(|path| format!("; it started from {path}")).unwrap_or_default();
    Some(format!(
        "{}: {} parameters on the {} of {}, which do not change{start}",
        parts.join(", "),
        thousands(*parameters),
        thousands(model.parameters),
        model.path
    ))
}

/// SHA-256 of a tokenizer: of its own JSON form, so that it is known whatever file it came from.
pub fn tokenizer_sha256(text: &Text) -> String {
    sha256(text.tokenizer().to_string(false).unwrap_or_default().as_bytes())
}

/// A command without the user and the query of an address in it, where secrets are.
pub fn printable_command(command: &str) -> String {
    let word = |word: &str| {
        let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (host, path) = rest.split_once('/').map_or((rest, None), |(a, b)| (a, Some(b)));
        let host = host.rsplit('@').next().unwrap_or_default();
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        format!("{scheme}://{host}{path}")
    };
    command.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// As [`of_this_process`], computing on `device` in `dtype`.
pub fn computing(threads: usize, device: DeviceChoice, dtype: DTypeChoice) -> Facts {
    let rounds = (device, dtype) == (DeviceChoice::Cpu, DTypeChoice::Bf16);
    Facts {
        device: match device {
            DeviceChoice::Cpu => "cpu".into(),
            DeviceChoice::Cuda => "cuda".into(),
        },
        bf16_kernel: rounds.then(|| engine::bf16_kernel().to_owned()),
        ..of_this_process(threads)
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<String> {
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    found.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.into()).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_is_noticed_and_threads_are_left_to_others() {
        let then = Facts { commit: "a".into(), ..of_this_process(1) };
        let now = Facts { commit: "b".into(), threads: 2, ..then.clone() };
        assert_eq!(now.changes_since(&then), ["commit: a then, b now"]);
        assert!(then.changes_since(&then).is_empty());
    }

    #[test]
    fn every_run_has_a_name_of_its_own() {
        let (one, other) = (of_this_process(1), of_this_process(1));
        assert!(one.id.len() == 16 && one.id != other.id, "{} {}", one.id, other.id);
    }

    #[test]
    fn a_command_is_kept_without_what_may_be_secret() {
        let command = "stearin train a.toml --set url=http://me:word@host:80/judge?key=1#x";
        let kept = printable_command(command);
        assert_eq!(kept, "stearin train a.toml --set url=http://host:80/judge");
        // The scheme of such a word has the key before it.
        assert_eq!(printable_command("a://b"), "a://b");
        assert_eq!(printable_command("stearin train a"), "stearin train a");
    }
}
