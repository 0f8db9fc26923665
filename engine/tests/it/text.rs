//! Chat templates against `transformers`, stop strings, and the vocabulary's size.

use engine::text::Date;
use engine::text::tokenizers::{AddedToken, Tokenizer};
use engine::{StopStrings, Text};
use serde_json::Value;

use crate::disk;

fn with_template(source: &str) -> Text {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in disk::text(8).to_files().unwrap() {
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    let config = disk::vectors()["special_tokens"].to_string();
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    Text::from_folder(folder.path(), &Value::Null).unwrap().with_template(source.to_owned())
}

#[test]
fn templates_render_as_in_transformers() {
    let vectors = disk::vectors();
    let mut wrong = Vec::new();
    for template in vectors["templates"].as_array().unwrap() {
        let name = &template["name"];
        let text = with_template(template["source"].as_str().unwrap());
        let cases = vectors["cases"].as_array().unwrap();
        for (case, want) in cases.iter().zip(template["rendered"].as_array().unwrap()) {
            let got = text.render(case[0].as_str(), case[1].as_str().unwrap());
            let same = match (&got, want["text"].as_str(), want["error"].as_str()) {
                (Ok(got), Some(want), _) => got == want,
                (Err(e), _, Some(want)) => e.to_string().contains(want),
                _ => false,
            };
            if !same {
                wrong.push(format!("{name} {case}:\n  got  {got:?}\n  want {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_template_is_told_the_day_it_is_given() {
    let text = with_template("{{ strftime_now('%Y-%m-%d %a') }}");
    assert_eq!(text.render(None, "").unwrap(), "2024-07-26 Fri");
    let text = text.with_date(Date { year: 2000, month: 2, day: 29 });
    assert_eq!(text.render(None, "").unwrap(), "2000-02-29 Tue");
}

#[test]
fn a_broken_template_is_an_error_with_its_line() {
    let text = with_template("fine\n{% if %}");
    let error = text.render(None, "").unwrap_err().to_string();
    assert!(error.starts_with("text: chat template line 2: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in disk::text(8).to_files().unwrap() {
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    let path = folder.path().join("chat_template.jinja");
    std::fs::write(&path, "fine\n{% if %}").unwrap();
    let named = Text::from_folder(folder.path(), &Value::Null).unwrap();
    let error = named.render(None, "").unwrap_err().to_string();
    let place = format!("text: chat template in {} line 2: ", path.display());
    assert!(error.starts_with(&place), "{error}");
    let text = with_template("{{ raise_exception('no tools here') }}");
    let error = text.render(None, "").unwrap_err().to_string();
    assert!(error.contains("no tools here"), "{error}");
}

#[test]
fn a_text_without_template_says_so() {
    let plain = Text::new(disk::text(8).tokenizer().clone(), None, vec![7]).unwrap();
    let error = plain.render(None, "w1").unwrap_err().to_string();
    assert!(error.contains("no chat template"), "{error}");
}

#[test]
fn special_tokens_in_a_text_are_recognised_and_left_out_when_decoding() {
    let mut tokenizer = disk::text(8).tokenizer().clone();
    tokenizer.add_special_tokens([AddedToken::from("<end>", true)]).unwrap();
    let text = Text::new(tokenizer, None, vec![8]).unwrap();
    assert_eq!(text.encode("w3<end>w4").unwrap(), [3, 8, 4]);
    assert_eq!(text.decode(&[3, 8, 4]).unwrap(), "w3 w4");
    assert_eq!(text.vocab_size(), 9);
}

#[test]
fn stop_tokens_must_exist() {
    let tokenizer = || disk::text(8).tokenizer().clone();
    let error = Text::new(tokenizer(), None, vec![8]).unwrap_err().to_string();
    assert!(error.contains("stop token 8"), "{error}");
    let error = Text::new(tokenizer(), None, vec![]).unwrap_err().to_string();
    assert!(error.contains("no token ends a turn"), "{error}");
}

#[test]
fn every_end_of_turn_token_of_the_files_stops() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| {
        std::fs::write(folder.path().join(name), contents).unwrap();
    };
    let error = Text::from_folder(folder.path(), &Value::Null).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: the tokenizer is missing"), "{error}");
    write("tokenizer.json", &disk::text(8).tokenizer().to_string(false).unwrap());
    let config = serde_json::json!({ "eos_token_id": 4 });
    let read = || Text::from_folder(folder.path(), &config);
    assert_eq!(read().unwrap().stop_tokens(), [4]);
    write("generation_config.json", r#"{"eos_token_id": [6, 5], "temperature": 0.6}"#);
    write("tokenizer_config.json", r#"{"eos_token": {"content": "w3"}}"#);
    let text = read().unwrap();
    assert_eq!(text.stop_tokens(), [6, 5, 4, 3]);
    assert_eq!(text.generation()["temperature"], 0.6);
    write("generation_config.json", r#"{"eos_token_id": "w1"}"#);
    assert!(read().unwrap_err().to_string().contains("expected a token id"));
    write("generation_config.json", r#"{"eos_token_id": 6"#);
    assert!(read().unwrap_err().to_string().contains("generation_config.json: not a JSON object"));
}

#[test]
fn a_template_of_its_own_file_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| {
        std::fs::write(folder.path().join(name), contents).unwrap();
    };
    write("tokenizer.json", &disk::text(8).tokenizer().to_string(false).unwrap());
    let config = serde_json::json!({ "eos_token_id": 4 });
    let template = || {
        let text = Text::from_folder(folder.path(), &config).unwrap();
        text.template().map(str::to_owned)
    };
    assert_eq!(template(), None);
    write("tokenizer_config.json", r#"{"chat_template": "in the configuration"}"#);
    assert_eq!(template().unwrap(), "in the configuration");
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "yes"}]}"#,
    );
    assert_eq!(template().unwrap(), "yes");
    write("chat_template.jinja", "in its own file");
    assert_eq!(template().unwrap(), "in its own file");
}

/// Byte-level tokens: letters, and the emoji in pieces.
fn byte_level() -> Text {
    let vectors = disk::vectors();
    let vocabulary = &vectors["tokenizers"][3];
    let vocab: serde_json::Map<_, _> = disk::strings(&vocabulary["tokens"])
        .iter()
        .enumerate()
        .map(|(id, &token)| (token.to_owned(), id.into()))
        .collect();
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": [{ "id": 2, "content": "<|im_end|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true }],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true },
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": vocabulary["merges"] },
    });
    Text::new(Tokenizer::from_bytes(json.to_string()).unwrap(), None, vec![2]).unwrap()
}

/// Lengths of the prefix of `text` at whose last token a stop string is complete.
fn stops(text: &Text, stop: &StopStrings, completion: &[u32]) -> Vec<usize> {
    (0..=completion.len()).filter(|&n| stop.matches(text, &completion[..n])).collect()
}

#[test]
fn a_stop_string_is_found_where_its_last_token_ends() {
    let text = byte_level();
    let source = "Solve 12 + 345. The answer is \\boxed{357}.\n\nSolve 6 * 7 and 🙂🎉 so on";
    let ids = text.encode(source).unwrap();
    for stop in ["\n\nSolve", "boxed{", "}.\n", "🎉", "answer is", "7", "12 +", "Solve 12"] {
        let found = stops(&text, &StopStrings::new([stop]), &ids);
        // The same by decoding every prefix whole.
        let ends: Vec<_> = source.match_indices(stop).map(|(at, _)| at + stop.len()).collect();
        let whole = |n: usize| {
            let text = text.decode(&ids[..n]).unwrap();
            text.trim_end_matches('\u{fffd}').len()
        };
        let expected: Vec<_> = (1..=ids.len())
            .filter(|&n| ends.iter().any(|&end| whole(n - 1) < end && end <= whole(n)))
            .collect();
        assert_eq!(found, expected, "{stop:?}");
        assert!(!found.is_empty(), "{stop:?}");
    }
}

#[test]
fn an_earlier_or_absent_stop_string_does_not_count() {
    let text = byte_level();
    let ids = text.encode("ab\n\ncd").unwrap();
    let found = stops(&text, &StopStrings::new(["\n\n"]), &ids);
    assert_eq!(found.len(), 1);
    assert!(found[0] < ids.len());
    assert!(stops(&text, &StopStrings::new(["\n\n\n", "x"]), &ids).is_empty());
    assert!(stops(&text, &StopStrings::new([""]), &ids).is_empty());
    assert!(StopStrings::default().is_empty());
}

#[test]
fn a_stop_string_may_name_a_special_token() {
    let text = byte_level();
    let ids = text.encode("ab<|im_end|>cd").unwrap();
    let found = stops(&text, &StopStrings::new(["b<|im_end|>"]), &ids);
    assert_eq!(found.len(), 1);
    assert_eq!(ids[found[0] - 1], 2);
}
