use schemars::Schema;
use serde_json::{Value, json};

/// Adds the names of the kinds that need no other key to the schema of a setting of several kinds.
pub fn by_name(schema: &mut Schema) {
    let Some(kinds) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return };
    let names: Vec<Value> = kinds
        .iter()
        .filter(|kind| kind["required"] == json!(["kind"]) || kind["required"].is_null())
        .map(|kind| kind["properties"]["kind"]["const"].clone())
        .collect();
    if !names.is_empty() {
        let description = "A kind by its name, with the defaults of its other keys.";
        kinds.push(json!({ "description": description, "type": "string", "enum": names }));
    }
}

/// As [`by_name`], and a table without `kind` is of the kind `default`.
pub fn by_name_or(default: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        by_name(schema);
        let kinds = schema.get_mut("oneOf").and_then(Value::as_array_mut);
        let kind =
            kinds.into_iter().flatten().find(|k| k["properties"]["kind"]["const"] == default);
        let required = kind.and_then(|kind| kind.get_mut("required")?.as_array_mut());
        if let Some(required) = required {
            required.retain(|key| key != "kind");
        }
    }
}
