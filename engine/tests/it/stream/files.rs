//! The file of streamed weights: what is refused, and what is kept.

use std::fs;
use std::path::Path;

use candle::DType;
use engine::stream::{Access, Arena, Master, Options, Streamed};
use engine::{Error, Family, Model, ModelConfig};

use super::steps::{Place, immediately, master, update};
use super::transforms::{Mistake, apply, bits};
use crate::support::{adapter, config, model};

fn written(path: &Path) -> Model {
    let model = model(ModelConfig { num_layers: 3, ..config(Family::Qwen2) }, DType::F32);
    drop(master(&model, Place::File(path, Access::Buffered)));
    model
}

fn open(path: &Path, config: &ModelConfig, trained: bool) -> engine::Result<Master> {
    Master::open(path, config.clone(), Access::Buffered, trained)
}

#[track_caller]
fn refused(path: &Path, config: &ModelConfig, words: &[&str]) {
    let error = open(path, config, false).unwrap_err().to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
    assert!(error.contains(&path.display().to_string()), "{error}");
}

#[test]
fn a_sealed_file_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    for step in 0..3 {
        let master = open(&path, model.config(), true).unwrap();
        let streamed = Streamed::new(master, |_| false, None, &Options::default()).unwrap();
        let update = update(step, 1.0, 0.1, Mistake::None);
        apply(&model, &update);
        // The last one is applied by the seal.
        streamed.defer(std::sync::Arc::new(update)).unwrap();
        streamed.seal().unwrap();
        let master = open(&path, model.config(), false).unwrap();
        master.verify().unwrap();
        let read = Streamed::new(master, |_| true, None, &Options::default()).unwrap();
        assert!(bits(&read.model().unwrap()) == bits(&model));
    }
}

#[test]
fn a_file_in_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    let master = open(&path, model.config(), true).unwrap();
    let streamed = Streamed::new(master, |_| false, None, &Options::default()).unwrap();
    immediately(&streamed, update(0, 1.0, 0.1, Mistake::None));
    refused(&path, model.config(), &["in use when its process ended", "replay the log"]);
    drop(streamed);
    refused(&path, model.config(), &["in use when its process ended"]);
}

/// A file is in use once it is written to: not when it is opened, nor when memory is short, nor
/// when an adapter is trained over it.
#[test]
fn a_file_that_nothing_was_written_to_is_not_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    let before = fs::read(&path).unwrap();
    let short = Options { arena: Arena::new(Some(100)), ..Options::default() };
    let master = open(&path, model.config(), true).unwrap();
    let error = Streamed::new(master, |_| false, None, &short).unwrap_err();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
    for trained in [false, true] {
        let master = open(&path, model.config(), trained).unwrap();
        let own = adapter(&model, super::adapters::lora(), 3);
        let over = Streamed::new(master, |_| false, Some(own), &Options::default()).unwrap();
        immediately(&over, update(0, 1.0, 0.1, Mistake::None));
        over.seal().unwrap();
    }
    let master = open(&path, model.config(), true).unwrap();
    Streamed::new(master, |_| false, None, &Options::default()).unwrap().flush().unwrap();
    assert!(fs::read(&path).unwrap() == before);
    open(&path, model.config(), false).unwrap().verify().unwrap();
}

#[test]
fn weights_that_were_opened_to_be_read_are_not_trained() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    let read = || open(&path, model.config(), false).unwrap();
    let error = Streamed::new(read(), |_| false, None, &Options::default()).unwrap_err();
    assert!(matches!(&error, Error::ReadOnly { path: own } if *own == path), "{error}");
    let one = |name: &str| name != "model.norm.weight";
    let error = Streamed::new(read(), one, None, &Options::default()).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
    Streamed::new(read(), |_| true, None, &Options::default()).unwrap();
}

/// A write that fails leaves the file of that name as it was, and nothing else.
#[test]
fn a_file_is_replaced_once_the_new_one_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    let before = fs::read(&path).unwrap();
    let mut left = 5;
    let mut get = |_: &str, shape: &[usize]| {
        left -= 1;
        if left == 0 {
            return Err(Error::Input("no more".into()));
        }
        Ok(candle::Tensor::zeros(shape, DType::F32, &candle::Device::Cpu)?.into())
    };
    Master::write(&path, model.config(), &mut get).unwrap_err();
    assert!(fs::read(&path).unwrap() == before);
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|x| x.unwrap().file_name()).collect();
    assert_eq!(names, ["weights"]);
}

#[test]
fn files_that_are_no_weights_of_the_model_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    let config = model.config();
    let whole = fs::read(&path).unwrap();
    let other = ModelConfig { num_layers: 2, ..config.clone() };
    refused(&path, &other, &["from the checkpoint"]);
    let other = ModelConfig { intermediate_size: 32, ..config.clone() };
    refused(&path, &other, &["mlp.gate_proj.weight", "from the checkpoint"]);
    fs::write(&path, &whole[..whole.len() - 4096]).unwrap();
    refused(&path, config, &["was cut short"]);
    fs::write(&path, &whole[..100]).unwrap();
    refused(&path, config, &["100 bytes are no streamed weights"]);
    let mut damaged = whole.clone();
    damaged[3] ^= 1;
    fs::write(&path, &damaged).unwrap();
    refused(&path, config, &["no streamed weights of version 1"]);
    let mut damaged = whole.clone();
    damaged[70] = b'!';
    fs::write(&path, &damaged).unwrap();
    refused(&path, config, &["its list of tensors is damaged"]);
    fs::remove_file(&path).unwrap();
    refused(&path, config, &["No such file"]);
}

#[test]
fn a_damaged_weight_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    open(&path, model.config(), false).unwrap().verify().unwrap();
    let mut whole = fs::read(&path).unwrap();
    let last = whole.len() - 4096;
    whole[last] ^= 1;
    fs::write(&path, &whole).unwrap();
    let error = open(&path, model.config(), false).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("its weights are not those that were written"), "{error}");
}

/// Every way to the file is past the page cache, where the file system can.
#[test]
#[cfg(target_os = "linux")]
fn direct_access_is_direct() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("weights");
    let model = written(&path);
    for access in [Access::Buffered, Access::Direct] {
        let master = Master::open(&path, model.config().clone(), access, true).unwrap();
        if let Some(note) = master.note() {
            println!("skipped: {note}");
            return;
        }
        let options = Options { ends: engine::stream::Ends::Streamed, ..Options::default() };
        let streamed = Streamed::new(master, |_| false, None, &options).unwrap();
        let direct = i64::from(nix::libc::O_DIRECT);
        let flags = flags_of(&path);
        // Those of the reader, the writer and the passes; the header is written through the cache.
        let found = flags.iter().filter(|flags| *flags & direct != 0).count();
        let expected = if access == Access::Direct { 3 } else { 0 };
        assert_eq!((found, flags.len()), (expected, 4), "{access:?}");
        streamed.defer(std::sync::Arc::new(update(0, 1.0, 0.1, Mistake::None))).unwrap();
        streamed.seal().unwrap();
    }
}

/// The flags of all open files of this path in this process, as the system has them.
#[cfg(target_os = "linux")]
fn flags_of(path: &Path) -> Vec<i64> {
    let path = path.canonicalize().unwrap();
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let number = entry.file_name().into_string().unwrap();
        (fs::read_link(entry.path()).ok()? == path).then_some(number)
    });
    let flags = |number: String| {
        let facts = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let flags = facts.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        i64::from_str_radix(flags.trim(), 8).unwrap()
    };
    open.map(flags).collect()
}

/// A file system without `O_DIRECT` is read through the page cache, and that is said.
#[test]
#[cfg(target_os = "linux")]
fn direct_access_falls_back_with_a_note() {
    let Ok(folder) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: no /dev/shm");
        return;
    };
    let path = folder.path().join("weights");
    let model = written(&path);
    let master = Master::open(&path, model.config().clone(), Access::Direct, false).unwrap();
    if let Some(note) = master.note() {
        assert!(note.contains("has no O_DIRECT") && note.contains("page cache"), "{note}");
    } else {
        println!("/dev/shm has O_DIRECT here");
    }
    let read = Streamed::new(master, |_| true, None, &Options::default()).unwrap();
    assert!(bits(&read.model().unwrap()) == bits(&model));
    assert_eq!(open(&path, model.config(), false).unwrap().note(), None);
}
