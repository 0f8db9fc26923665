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
