//! What makes the `tokenizers` crate panic in a `tokenizer.json`, refused before it sees the file.

use serde_json::{Map, Value};

/// What is wrong in the file, and the next act.
///
/// # Errors
///
/// Fails on what the crate takes for granted: that merges fit the vocabulary and the subword
/// prefix, that a template's tokens are listed and its single form has one text, that a fixed
/// length is not 0, and that a decoder strips nothing from the end of a token, which may be empty.
pub(super) fn check(file: &Value) -> Result<(), String> {
    let model = &file["model"];
    if matches!(model["type"].as_str(), None | Some("BPE"))
        && let (Some(vocab), Some(merges)) =
            (model["vocab"].as_object(), model["merges"].as_array())
    {
        let prefix = model["continuing_subword_prefix"].as_str().unwrap_or_default();
        merges.iter().try_for_each(|merge| mergeable(merge, prefix, vocab))?;
    }
    each(&file["post_processor"], "processors", &template)?;
    each(&file["pre_tokenizer"], "pretokenizers", &|part| {
        if part["type"] == "FixedLength" && part["length"] == 0 {
            return Err("the pre-tokenizer FixedLength has the length 0, expected 1 or more\n\
                        set its length in tokenizer.json"
                .into());
        }
        Ok(())
    })?;
    each(&file["decoder"], "decoders", &|part| {
        if part["type"] == "Strip" && part["stop"].as_u64().is_some_and(|stop| stop > 0) {
            return Err(format!(
                "the decoder Strip has stop {}, which fails on tokens shorter than that\n\
                 set its stop to 0 in tokenizer.json",
                part["stop"]
            ));
        }
        Ok(())
    })
}

/// A part, or those of the `Sequence` that it is, in any depth.
fn each(
    part: &Value,
    inner: &str,
    check: &dyn Fn(&Value) -> Result<(), String>,
) -> Result<(), String> {
    match part[inner].as_array() {
        Some(parts) if part["type"] == "Sequence" => {
            parts.iter().try_for_each(|part| each(part, inner, check))
        }
        _ => check(part),
    }
}

fn mergeable(merge: &Value, prefix: &str, vocab: &Map<String, Value>) -> Result<(), String> {
    let (left, right) = match merge {
        Value::String(pair) => match pair.split_once(' ') {
            Some(pair) => pair,
            None => return Ok(()),
        },
        pair => match (pair[0].as_str(), pair[1].as_str()) {
            (Some(left), Some(right)) => (left, right),
            _ => return Ok(()),
        },
    };
    let Some(rest) = right.strip_prefix(prefix) else {
        return Err(format!(
            "the merge of `{left}` and `{right}` does not continue with the \
             continuing_subword_prefix `{prefix}`\n\
             set model.continuing_subword_prefix to null in tokenizer.json, or take the merges of \
             the same tokenizer"
        ));
    };
    let merged = format!("{left}{rest}");
    if vocab.contains_key(&merged) {
        return Ok(());
    }
    Err(format!(
        "the merge of `{left}` and `{right}` makes `{merged}`, which model.vocab does not have\n\
         take vocabulary and merges of the same tokenizer"
    ))
}

fn template(part: &Value) -> Result<(), String> {
    if part["type"] != "TemplateProcessing" {
        return Ok(());
    }
    for piece in part["single"].as_array().into_iter().flatten() {
        if piece["Sequence"]["id"] == "B" {
            return Err(
                "the post-processor's `single` has the sequence B, but there is one text\n\
                        name the sequence A in tokenizer.json"
                    .into(),
            );
        }
    }
    for piece in ["single", "pair"].iter().filter_map(|&form| part[form].as_array()).flatten() {
        if let Some(token) = piece["SpecialToken"]["id"].as_str()
            && part["special_tokens"].get(token).is_none()
        {
            return Err(format!(
                "the post-processor adds the token `{token}`, which its special_tokens do not \
                 list\nadd it there in tokenizer.json with its ids, or remove it from the template"
            ));
        }
    }
    Ok(())
}
