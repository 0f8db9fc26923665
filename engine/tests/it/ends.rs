//! Where the text of each token ends.

use std::collections::BTreeSet;

use engine::Text;
use engine::text::tokenizers::Tokenizer;
use proptest::prelude::*;
use serde_json::{Map, json};

/// One token a byte, in the letters that byte-level tokenizers have for bytes, and an end.
fn bytes() -> Text {
    let mut other = 256_u32..;
    let letter = |byte: u8| match byte {
        b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
        _ => char::from_u32(other.next().unwrap()).unwrap(),
    };
    let letters: Vec<_> = (0..=255).map(letter).map(String::from).collect();
    let vocab: Map<_, _> =
        letters.iter().cloned().zip(0..).map(|(token, id)| (token, json!(id))).collect();
    let end = json!({ "id": 256, "content": "<end>", "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        "use_regex": false });
    let json = json!({
        "version": "1.0",
        "added_tokens": [end],
        "pre_tokenizer": bytes,
        "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    Text::new(Tokenizer::from_bytes(json.to_string()).unwrap(), None, vec![256]).unwrap()
}

/// Tokens that begin with a space, whose decoder takes that of a text's first one away.
fn spaced() -> Text {
    let vocab = json!([["<end>", 0.0], ["▁a", -1.0], ["b", -1.0], ["▁", -2.0]]);
    let end = json!({ "id": 0, "content": "<end>", "special": true, "single_word": false,
        "lstrip": false, "rstrip": false, "normalized": false });
    let json = json!({
        "version": "1.0",
        "added_tokens": [end],
        "decoder": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always" },
        "model": { "type": "Unigram", "unk_id": 0, "vocab": vocab },
    });
    Text::new(Tokenizer::from_bytes(json.to_string()).unwrap(), None, vec![0]).unwrap()
}

fn ends(text: &Text, tokens: &[u32], end: u32) -> (String, Vec<u32>) {
    let hidden = BTreeSet::from([end]);
    let whole = text.decode_without(tokens, &hidden).unwrap();
    let ends = text.token_ends(tokens, &hidden, &whole).unwrap();
    (whole, ends)
}

#[test]
fn a_split_character_belongs_to_the_token_that_completes_it() {
    let tokens: Vec<u32> = "aé€𝄞b".bytes().map(u32::from).chain([256]).collect();
    let (whole, ends) = ends(&bytes(), &tokens, 256);
    assert_eq!(whole, "aé€𝄞b");
    assert_eq!(ends, [1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11]);
}

#[test]
fn a_character_that_is_never_completed_is_the_last_tokens() {
    let (whole, ends) = ends(&bytes(), &[97, 0xE2, 0x82, 256], 256);
    assert_eq!(ends, [1, 1, whole.len() as u32, whole.len() as u32]);
    let text = bytes();
    assert_eq!(text.token_ends(&[], &BTreeSet::new(), "").unwrap(), [0; 0]);
    assert_eq!(text.token_ends(&[256], &BTreeSet::from([256]), "").unwrap(), [0]);
}

#[test]
fn the_space_of_a_texts_first_token_is_in_no_text() {
    let (whole, ends) = ends(&spaced(), &[1, 2, 1, 3, 1, 0], 0);
    assert_eq!(whole, "ab a  a");
    assert_eq!(ends, [1, 2, 4, 5, 7, 7]);
}

proptest! {
    #[test]
    fn of_any_bytes_the_ends_ascend_to_the_whole(tokens in prop::collection::vec(0_u32..257, 0..60)) {
        let (whole, ends) = ends(&bytes(), &tokens, 256);
        prop_assert_eq!(ends.len(), tokens.len());
        prop_assert!(ends.is_sorted());
        prop_assert!(ends.iter().all(|&end| whole.is_char_boundary(end as usize)));
        let shown = tokens.iter().any(|&token| token != 256);
        prop_assert!(!shown || ends.last() == Some(&(whole.len() as u32)));
    }
}
