//! What ends a turn, what stays in the text of a completion, and where a completion begins.

use engine::Text;
use engine::text::tokenizers::Tokenizer;
use engine::text::{KeepRule, KeepSpecialTokens};
use serde_json::{Map, json};

/// One token a character, and the special tokens of several families.
const SPECIAL: [&str; 14] = [
    "<s>",
    "</s>",
    "<pad>",
    "<|im_start|>",
    "<|im_end|>",
    "<|eot|>",
    "<|header|>",
    "<|/header|>",
    "[INST]",
    "[/INST]",
    "<think>",
    "</think>",
    "<answer>",
    "<|image|>",
];

fn tokenizer() -> Tokenizer {
    let characters = ('\n'..='\n').chain(' '..='~').map(String::from);
    let tokens: Vec<_> = characters.chain(SPECIAL.map(String::from)).collect();
    let vocab: Map<_, _> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added = SPECIAL.map(|token| {
        json!({ "id": vocab[token], "content": token, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false })
    });
    let json = json!({
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": r"[\s\S]" },
            "behavior": "Isolated", "invert": false },
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "<none>" },
    });
    Tokenizer::from_bytes(json.to_string()).unwrap()
}

fn text(template: Option<&str>, eos: &str) -> Text {
    let tokenizer = tokenizer();
    let end = tokenizer.token_to_id(eos).unwrap();
    Text::new(tokenizer, template.map(str::to_owned), vec![end]).unwrap()
}

const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";

/// As llama 3: the end follows at once, and headers have marks of their own.
const HEADERS: &str = "<s>{% for m in messages %}<|header|>{{ m.role }}<|/header|>\n\n\
    {{ m.content | trim }}<|eot|>{% endfor %}";

/// As Mistral: no system message, a space before the end.
const INST: &str = "<s>{% for m in messages %}{% if m.role == 'system' %}\
    {{ raise_exception('no system message') }}{% elif m.role == 'user' %}[INST] {{ m.content }} [/INST]\
    {% else %} {{ m.content }} </s>{% endif %}{% endfor %}";

/// As Qwen 3: empty reasoning in an assistant's turn, and a system message that names the tags.
const REASONING: &str = "<|im_start|>system\nThink between <think> and </think>. \
    {% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% endif %}{% endfor %}<|im_end|>\n\
    {% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n\
    {% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}<|im_end|>\n\
    {% endif %}{% endfor %}";

/// Turns in tags, which are markers here.
const TAGS: &str = "{% for m in messages %}<think>{{ m.content }}</think>{% endfor %}";

fn shown(text: &Text, keep: &KeepSpecialTokens) -> String {
    let all = text.encode(&SPECIAL.concat()).unwrap();
    assert_eq!(all.len(), SPECIAL.len());
    text.decode_without(&all, &text.hidden_tokens(keep).unwrap()).unwrap()
}

#[test]
fn the_token_that_ends_a_turn_is_read_off_the_template() {
    let cases = [
        (CHATML, Some("<|im_end|>")),
        (HEADERS, Some("<|eot|>")),
        (INST, Some("</s>")),
        (REASONING, Some("<|im_end|>")),
        (TAGS, Some("</think>")),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", None),
        ("{{ messages[0].content }}", None),
        ("{{ raise_exception('never') }}", None),
        ("{% for m in messages %}{{ m.content }} and <|im_end|>{% endfor %}", None),
    ];
    for (template, end) in cases {
        let text = text(Some(template), "<|image|>");
        let end = end.map(|end| text.tokenizer().token_to_id(end).unwrap());
        assert_eq!(text.turn_end(), end, "{template}");
        // What the checkpoint says ends a turn goes on doing so.
        let stops = text.stop_tokens().to_vec();
        if let Some(end) = end {
            let more = text.with_stop_token(end).unwrap();
            assert_eq!(more.stop_tokens(), [stops, vec![end]].concat());
            let len = more.stop_tokens().len();
            assert_eq!(more.with_stop_token(end).unwrap().stop_tokens().len(), len);
        }
    }
    assert_eq!(text(None, "</s>").turn_end(), None);
    assert!(text(None, "</s>").with_stop_token(9999).is_err());
}

#[test]
fn by_default_tags_stay_and_what_the_template_writes_around_turns_goes() {
    let auto = KeepSpecialTokens::default();
    let chatml =
        "<s></s><pad><|eot|><|header|><|/header|>[INST][/INST]<think></think><answer><|image|>";
    assert_eq!(shown(&text(Some(CHATML), "<|im_end|>"), &auto), chatml);
    let headers = "</s><pad><|im_start|><|im_end|>[INST][/INST]<think></think><answer><|image|>";
    assert_eq!(shown(&text(Some(HEADERS), "<|eot|>"), &auto), format!("<s>{headers}"));
    let inst =
        "<pad><|im_start|><|im_end|><|eot|><|header|><|/header|><think></think><answer><|image|>";
    assert_eq!(shown(&text(Some(INST), "</s>"), &auto), inst);
    assert_eq!(shown(&text(Some(REASONING), "<|im_end|>"), &auto), chatml);
    let tags = shown(&text(Some(TAGS), "</s>"), &auto);
    assert!(!tags.contains("think>") && tags.contains("<|im_start|>"), "{tags}");
    let plain = shown(&text(None, "</s>"), &auto);
    assert_eq!(plain, SPECIAL.concat().replace("</s>", ""));
}

#[test]
fn tokens_that_the_tokenizer_names_go() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| {
        std::fs::write(folder.path().join(name), contents).unwrap();
    };
    write("tokenizer.json", &tokenizer().to_string(false).unwrap());
    let config = r#"{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": "<pad>",
        "think_token": "<think>", "unk_token": null, "sep_token": "nowhere"}"#;
    write("tokenizer_config.json", config);
    let rows = tokenizer().get_vocab_size(true);
    let config = json!({ "vocab_size": rows });
    let text = Text::from_folder(folder.path(), &config).unwrap();
    let expected = SPECIAL.concat().replace("<s></s><pad>", "");
    assert_eq!(shown(&text, &KeepSpecialTokens::default()), expected);
    let id = |token: &str| text.tokenizer().token_to_id(token);
    assert_eq!(text.named_token("eos_token"), id("</s>"));
    assert_eq!(text.named_token("think_token"), id("<think>"));
    assert_eq!(text.named_token("unk_token"), None);
    assert_eq!(text.named_token("sep_token"), None);
}

#[test]
fn what_stays_can_be_chosen() {
    let text = text(Some(CHATML), "<|im_end|>");
    let by = KeepSpecialTokens::By;
    assert_eq!(shown(&text, &by(KeepRule::All)), SPECIAL.concat());
    assert_eq!(shown(&text, &by(KeepRule::None)), "");
    let listed = |tokens: &[&str]| {
        KeepSpecialTokens::Listed(tokens.iter().map(|&token| token.to_owned()).collect())
    };
    assert_eq!(shown(&text, &listed(&["<answer>", "<|im_end|>"])), "<|im_end|><answer>");
    // A token that is not special stays whether it is listed or not.
    let ids = text.encode("a<answer>b").unwrap();
    let hidden = text.hidden_tokens(&listed(&["a"])).unwrap();
    assert_eq!(text.decode_without(&ids, &hidden).unwrap(), "ab");
    let error = text.hidden_tokens(&listed(&["<thnk>"])).unwrap_err().to_string();
    assert!(error.contains("\"<thnk>\""), "{error}");
}

#[test]
fn settings_are_read_from_words_and_lists() {
    let read = |json: &str| serde_json::from_str::<KeepSpecialTokens>(json);
    assert_eq!(read("\"auto\"").unwrap(), KeepSpecialTokens::default());
    assert_eq!(read("\"none\"").unwrap(), KeepSpecialTokens::By(KeepRule::None));
    assert_eq!(read("[\"<a>\"]").unwrap(), KeepSpecialTokens::Listed(vec!["<a>".into()]));
    for wrong in ["\"some\"", "true", "3", "{}"] {
        let error = read(wrong).unwrap_err().to_string();
        assert!(error.contains("auto"), "{wrong}: {error}");
    }
}

/// As `SentencePiece` converts to tokenizers: every text begins with a space of the tokenizer's
/// own.
fn metaspace(merges: &[&str]) -> Text {
    let mut tokens: Vec<String> = ["</s>", "\n", "▁"].map(String::from).to_vec();
    tokens.extend(('a'..='z').chain('A'..='Z').chain('0'..='9').map(String::from));
    tokens.extend([":", ".", "="].map(String::from));
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    let vocab: Map<_, _> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let json = json!({
        "version": "1.0",
        "added_tokens": [{ "id": 0, "content": "</s>", "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false }],
        "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
            "split": false },
        "decoder": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always",
            "split": false },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    });
    Text::new(Tokenizer::from_bytes(json.to_string()).unwrap(), None, vec![0]).unwrap()
}

/// Prompt and completion as the model reads them.
fn together(text: &Text, prompt: &str, completion: &str) -> String {
    let prompt_ids = text.encode(prompt).unwrap();
    let completion = text.encode_after(prompt, completion).unwrap();
    text.tokenizer().decode(&[prompt_ids, completion].concat(), false).unwrap()
}

#[test]
fn a_completion_has_no_space_of_the_tokenizers_own() {
    let text = metaspace(&["▁ a", "a b", "▁a b"]);
    // Alone it would begin with a space: this is what must not be learnt.
    let alone = [text.encode("Q:").unwrap(), text.encode("xy").unwrap()].concat();
    assert_eq!(text.tokenizer().decode(&alone, false).unwrap(), "Q: xy");
    for (prompt, completion) in
        [("Q:", "xy"), ("Q:", " xy"), ("Q:\n", "xy"), ("Q: ", "ab"), ("Q", "ab cd"), ("Q=", "")]
    {
        let read = together(&text, prompt, completion);
        assert_eq!(read, format!("{prompt}{completion}"), "{prompt:?} {completion:?}");
    }
}

#[test]
fn the_prompt_keeps_its_tokens_where_one_would_span_the_boundary() {
    let text = metaspace(&["▁ a", "a b", "▁a b"]);
    // "Q: a" ends in a token of its own, and with "b" after it the tokenizer would take another.
    let (prompt, completion) = ("Q: a", "b");
    let prompt_ids = text.encode(prompt).unwrap();
    let joint = text.encode("Q: ab").unwrap();
    assert!(!joint.starts_with(&prompt_ids));
    assert_eq!(together(&text, prompt, completion), "Q: ab");
    let id = text.tokenizer().token_to_id("b").unwrap();
    assert_eq!(text.encode_after(prompt, completion).unwrap(), [id]);
}

#[test]
fn a_completion_that_no_tokens_give_is_refused() {
    // "-" has no token but in "a-": after a prompt that ends in "a" nothing can say it.
    let mut text = json!({
        "version": "1.0",
        "model": { "type": "BPE", "vocab": { "a": 0, "ab": 1, "</s>": 2, "b": 3 }, "merges": ["a b"],
            "unk_token": "</s>" },
        "normalizer": { "type": "Replace", "pattern": { "Regex": "^b" }, "content": "aa" },
    });
    text["added_tokens"] = json!([]);
    let text = Text::new(Tokenizer::from_bytes(text.to_string()).unwrap(), None, vec![2]).unwrap();
    let error = text.encode_after("a", "b").unwrap_err().to_string();
    assert!(error.contains("line end"), "{error}");
}
