use regex::{Error, Regex};

use super::{Attempt, Unavailable, Verdict, Verifier};

/// Earns 1 if a regular expression is found in the completion, and 0 otherwise.
///
/// The syntax is that of the crate `regex`: no look-around and no back references, and so a search
/// in time linear in the completion.
#[derive(Debug, Clone)]
pub struct Pattern {
    name: String,
    regex: Regex,
}

impl Pattern {
    /// A verifier of that name.
    ///
    /// # Errors
    ///
    /// Fails, saying why, on a text that is no regular expression or one that is too large.
    pub fn new(name: &str, pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|error| match &error {
            // The message draws the pattern over several lines, the reason in the last.
            Error::Syntax(text) => {
                let reason = text.lines().last().unwrap_or_default();
                reason.strip_prefix("error: ").unwrap_or(reason).to_owned()
            }
            _ => error.to_string().trim_end_matches('.').to_lowercase(),
        })?;
        Ok(Self { name: name.to_owned(), regex })
    }
}

impl Verifier for Pattern {
    fn name(&self) -> &str {
        &self.name
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let found = |attempt: &Attempt<'_>| f64::from(u8::from(self.regex.is_match(attempt.text)));
        Ok(attempts.iter().map(|attempt| Verdict::form(found(attempt))).collect())
    }
}
