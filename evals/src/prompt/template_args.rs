//! What may be given to a chat template besides the conversation.

use engine::text::Text;
use serde_json::{Map, Value};

/// What is wrong with the arguments: each entry names one and says what to change.
pub(super) fn problems(args: &Map<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, value) in args {
        let key = format!("`template_args.{name}`");
        if let Some(reason) = Text::reserved_template_arg(name) {
            problems.push(format!("{key} is {reason}; give it another name"));
        }
        if has_no_json(value) {
            problems.push(format!(
                "{key} holds a date, a null or a number that is not finite; write a date as text, and \
                 leave out what has no value"
            ));
        }
        if matches!(name.as_str(), "tools" | "documents") && !is_table_list(value) {
            problems.push(format!("{key} is a list of tables in every template"));
        }
    }
    problems
}

/// TOML has dates and numbers that are not finite, which arrive as a table of this key and as null.
fn has_no_json(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_no_json),
        Value::Object(items) => items
            .iter()
            .any(|(key, value)| key.starts_with("$__toml_private") || has_no_json(value)),
        _ => false,
    }
}

fn is_table_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_object))
}
