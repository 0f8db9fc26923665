//! A supervised stage on chats, from the file to the loss.
#![expect(clippy::float_cmp, reason = "a count")]

use std::fs;
use std::path::Path;

use evals::run::read_log;
use recipes::config::Recipe;
use recipes::data::problems;
use recipes::search_path::SearchPath;

use crate::runs::Run;

/// A supervised stage of one step on both rows of `data`.
fn recipe(model: &str, data: &Path) -> String {
    let data = data.display();
    format!(
        r#"
        model.path = "{model}"
        [data]
        train = {{ kind = "file", path = "{data}/chats.jsonl" }}
        held_out = {{ kind = "file", path = "{data}/held_out.jsonl" }}
        [eval]
        sampling = {{ max_new_tokens = 2 }}
        rewards = [{{ kind = "math" }}]
        [[stage]]
        kind = "sft"
        steps = 1
        batch = 2
        schedule = {{ kind = "constant", lr = 1e-3 }}
        "#
    )
}

#[test]
fn every_turn_of_the_assistant_is_in_the_loss_with_its_end_and_no_other_token() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    fs::write(folder.join("held_out.jsonl"), "{\"problem\": \"7+1\", \"answer\": \"8\"}\n")
        .unwrap();
    let chats = [
        r#"{"messages": [{"role": "system", "content": "Add."}, {"role": "user", "content": "1+1"}, {"role": "assistant", "content": "=2"}, {"role": "user", "content": "2+2"}, {"role": "assistant", "content": "is 4"}, {"role": "user", "content": "6+6"}, {"role": "assistant", "content": "=12"}]}"#,
        r#"{"messages": [{"role": "user", "content": "3+3"}, {"role": "assistant", "content": "six"}]}"#,
    ];
    fs::write(folder.join("chats.jsonl"), chats.join("\n")).unwrap();
    // A model with a chat template: a builtin one as a run saves it.
    let sums = r#"train = { kind = "arithmetic", count = 20, min_digits = 1, max_digits = 1, operations = ["+"] }"#;
    let chats =
        format!("train = {{ kind = \"file\", path = \"{}/chats.jsonl\" }}", folder.display());
    let template = "prompt.template = { kind = \"plain\", text = \"{problem}=\" }\n[data]";
    let plain = recipe("builtin:atom", folder).replace(&chats, sums).replace("[data]", template);
    let made = folder.join("made");
    Run { recipe: &plain, ..Run::new(&made) }.train().unwrap();
    let model = made.join("checkpoints/step-000001");
    let template = "{% for m in messages %}{{ m.role }}:{{ m.content }}<|end|>{% endfor %}\
                    {% if add_generation_prompt %}assistant:{% endif %}";
    fs::write(model.join("chat_template.jinja"), template).unwrap();

    let root = folder.join("run");
    let recipe = recipe(&model.display().to_string(), folder);
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let lines = read_log(&root.join("metrics.jsonl")).unwrap();
    let step = lines.iter().find(|line| line.step == 1).unwrap();
    // A token is a character; each turn has one more, which ends it.
    let turns = ["=2", "is 4", "=12", "six"];
    let by_hand: usize = turns.iter().map(|turn| turn.len() + 1).sum();
    assert_eq!(by_hand, 16);
    assert_eq!(step.number("training/num_tokens").unwrap(), by_hand as f64);
    let loss = step.number("train/loss").unwrap();
    assert!(loss > 0.0 && loss.is_finite(), "{loss}");
}

#[test]
fn chats_without_answers_need_no_held_out_data_or_a_verifier_of_their_own() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path();
    let chat = |text: &str| {
        format!(
            "{{\"messages\": [{{\"role\": \"user\", \"content\": \"{text}\"}}, \
             {{\"role\": \"assistant\", \"content\": \"Hello.\"}}]}}\n"
        )
    };
    fs::write(folder.join("chats.jsonl"), chat("Good morning") + &chat("Good evening")).unwrap();
    fs::write(folder.join("held_out.jsonl"), chat("Good night")).unwrap();
    let read = |text: &str| {
        let recipe = Recipe::parse("chats", text).unwrap();
        problems(&recipe, &SearchPath::of_recipe(folder))
    };
    let text = recipe("builtin:atom", folder);
    let error = format!("{:#}", read(&text).unwrap_err());
    assert!(error.contains("no answer, which `math` of eval.rewards reads"), "{error}");
    assert!(error.contains("leave data.held_out out"), "{error}");
    let (before, rest) = text.split_once("held_out = ").unwrap();
    let without = format!("{before}{}", rest.split_once('\n').unwrap().1);
    assert_eq!(read(&without).unwrap().train.len(), 2);
    let own = "[{ kind = \"process\", command = [\"judge\"] }]";
    let own = text.replace("[{ kind = \"math\" }]", own);
    assert_eq!(read(&own).unwrap().held_out.unwrap().len(), 1);
}
