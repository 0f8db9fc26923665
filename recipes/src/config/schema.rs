use anyhow::Result;

use super::Recipe;

/// The JSON schema of a recipe, as the file beside the shipped recipes has it.
///
/// # Errors
///
/// Fails when the schema has no JSON form, which would be a defect.
pub fn schema() -> Result<String> {
    let schema = schemars::schema_for!(Recipe);
    Ok(serde_json::to_string_pretty(&schema)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// schemars numbers the second of two types that have one name.
    #[test]
    fn every_type_has_a_name_of_its_own() {
        let schema: serde_json::Value = serde_json::from_str(&schema().unwrap()).unwrap();
        let names: Vec<_> = schema["$defs"].as_object().unwrap().keys().collect();
        assert!(names.len() > 20, "{names:?}");
        let numbered = |name: &&&String| name.ends_with(|last: char| last.is_ascii_digit());
        assert_eq!(names.iter().find(numbered), None);
    }
}
