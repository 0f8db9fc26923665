//! Heads of GGUF files that ggml refuses, byte by byte.

use std::fs;

use engine::gguf::Gguf;

/// A tensor of a head: name, sizes from the innermost, type, offset.
type Told = (&'static str, Vec<u64>, u32, u64);

const F32: u32 = 0;
const Q8_0: u32 = 8;

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A file of version 3 with these keys, each with its type and value, and `data` bytes after a head
/// that is padded to 32.
fn bytes(keys: &[(&str, u32, Vec<u8>)], tensors: &[Told], data: usize) -> Vec<u8> {
    let mut out = Vec::from(b"GGUF");
    out.extend(3_u32.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    for (key, kind, value) in keys {
        text(&mut out, key);
        out.extend(kind.to_le_bytes());
        out.extend(value);
    }
    for (name, sizes, kind, offset) in tensors {
        text(&mut out, name);
        out.extend((sizes.len() as u32).to_le_bytes());
        out.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        out.extend(kind.to_le_bytes());
        out.extend(offset.to_le_bytes());
    }
    out.resize(out.len().next_multiple_of(32) + data, 0);
    out
}

fn open(bytes: &[u8]) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    fs::write(&path, bytes).unwrap();
    Gguf::open(&path).map(drop).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) {
    let error = open(bytes).unwrap_err();
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
}

/// Two tensors of 20 bytes, the second at `offset`.
fn two(offset: u64) -> [Told; 2] {
    [("a", vec![5], F32, 0), ("b", vec![5], F32, offset)]
}

#[test]
fn tensors_follow_each_other_with_padding() {
    // With the padding of the last tensor, without it, and with a part of it.
    for data in [64, 32 + 20, 32 + 25] {
        open(&bytes(&[], &two(32), data)).unwrap();
    }
    for offset in [0, 20, 16, 33, 64, 1 << 40, u64::MAX] {
        let words = [&format!("tensor b has the offset {offset}, expected 32"), "damaged"];
        refused(&bytes(&[], &two(offset), 96), &words.map(|word| word as &str));
    }
    let gap = [("a", vec![5], F32, 32)];
    refused(&bytes(&[], &gap, 64), &["tensor a has the offset 32, expected 0"]);
    // In another order than their data.
    let turned = [("b", vec![5], F32, 32), ("a", vec![5], F32, 0)];
    refused(&bytes(&[], &turned, 64), &["tensor b has the offset 32, expected 0"]);
    refused(&bytes(&[], &two(32), 32 + 19), &["tensor b ends at byte", "cut short"]);
}

#[test]
fn nothing_follows_the_last_tensor() {
    let whole = bytes(&[], &two(32), 64);
    for more in [1, 32, 4096] {
        let longer = [whole.clone(), vec![0; more]].concat();
        let ends = format!("ends at byte {} with its padding", whole.len());
        let has = format!("the file has {} bytes", longer.len());
        refused(&longer, &["its last tensor, b,", &ends, &has]);
    }
    // Of a vocabulary alone.
    open(&bytes(&[], &[], 0)).unwrap();
    refused(&bytes(&[], &[], 32), &["its head ends at byte 32"]);
}

#[test]
fn an_alignment_of_the_file_is_that_of_its_tensors() {
    let aligned = |bytes: u32| ("general.alignment", 4, bytes.to_le_bytes().to_vec());
    open(&bytes(&[aligned(8)], &two(24), 20 + 24)).unwrap();
    refused(&bytes(&[aligned(8)], &two(32), 64), &["tensor b has the offset 32, expected 24"]);
    for other in [0, 24, 1 << 17] {
        let said = format!("general.alignment is {other}, expected a power of two");
        refused(&bytes(&[aligned(other)], &two(32), 64), &[&said]);
    }
    let wide = ("general.alignment", 10, 32_u64.to_le_bytes().to_vec());
    refused(&bytes(&[wide], &two(32), 64), &["general.alignment has the value type 10"]);
}

#[test]
fn no_key_and_no_tensor_is_there_twice() {
    let key = |value: u32| ("general.quantization_version", 4, value.to_le_bytes().to_vec());
    refused(
        &bytes(&[key(2), key(2)], &two(32), 64),
        &["metadata key general.quantization_version is there twice"],
    );
    let twice = [("a", vec![5], F32, 0), ("a", vec![5], F32, 32)];
    refused(&bytes(&[], &twice, 64), &["tensor a is there twice"]);
    let same = [("a", vec![5], F32, 0), ("a", vec![5], F32, 0)];
    refused(&bytes(&[], &same, 64), &["tensor a is there twice"]);
}

#[test]
fn a_row_is_of_whole_blocks() {
    // 34 bytes for 32 numbers.
    open(&bytes(&[], &[("a", vec![32, 2], Q8_0, 0)], 68)).unwrap();
    // As many numbers, in rows that share blocks.
    for sizes in [vec![16, 4], vec![2, 32], vec![]] {
        let told = [("a", sizes, Q8_0, 0)];
        refused(&bytes(&[], &told, 68), &["tensor a of type Q8_0", "multiple of its block of 32"]);
    }
    let large = [("a", vec![1 << 40, 1 << 40], F32, 0)];
    refused(&bytes(&[], &large, 64), &["tensor a has shape"]);
}
