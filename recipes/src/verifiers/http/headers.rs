//! Headers of a request whose values come from the environment.

use std::collections::BTreeMap;
use std::fmt;

use ureq::http::{HeaderName, HeaderValue};

/// What marks the name of a variable in a value.
const MARK: &str = "env:";
/// Headers that belong to the request itself.
const OWN: [&str; 5] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding"];

/// Header values, which no message shows.
#[derive(Clone)]
pub(super) struct Headers {
    pub(super) pairs: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<String>,
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.pairs.iter().map(|(name, _)| name)).finish()
    }
}

/// What is wrong with headers as they stand in a recipe. Never shows a value: it may be a secret
/// that was written there by mistake.
pub(super) fn problem(headers: &BTreeMap<String, String>) -> Option<String> {
    headers.iter().find_map(|(name, value)| {
        if name.parse::<HeaderName>().is_err() {
            return Some(format!("headers: expected the name of a header, got `{name}`"));
        }
        if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            return Some(format!("headers.{name}: it is set by the request itself: remove it"));
        }
        if headers.keys().any(|other| other < name && other.eq_ignore_ascii_case(name)) {
            return Some(format!("headers.{name}: expected each header once"));
        }
        split(value).is_none().then(|| {
            format!(
                "headers.{name}: expected \"env:NAME\" with the name of an environment variable, \
                 after other text or alone (\"Bearer env:JUDGE_TOKEN\"); values are not written in \
                 recipes, which are stored with their runs"
            )
        })
    })
}

/// The text before the mark and the variable's name.
fn split(value: &str) -> Option<(&str, &str)> {
    let (before, name) = value.split_once(MARK)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    (is_name && !name.is_empty()).then_some((before, name))
}

impl Headers {
    /// Reads the values through `variable`, which is the environment outside of tests.
    ///
    /// # Errors
    ///
    /// Names the header and the variable where that is not set, is empty, or cannot be sent.
    pub(super) fn read(
        headers: &BTreeMap<String, String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut read = Self { pairs: Vec::new(), secrets: Vec::new() };
        for (name, value) in headers {
            let (before, of) = split(value)
                .ok_or_else(|| format!("headers.{name}: expected \"env:NAME\" in the value"))?;
            let secret = variable(of).map(|value| value.trim().to_owned());
            let secret = secret.filter(|value| !value.is_empty()).ok_or_else(|| {
                format!(
                    "headers.{name}: the environment variable `{of}` is not set: set it where \
                     stearin is started (`export {of}=...`)"
                )
            })?;
            let unfit = || {
                format!(
                    "headers.{name}: the value of the environment variable `{of}` cannot be sent: \
                     expected one line of plain characters"
                )
            };
            let header = name.parse::<HeaderName>().map_err(|_| unfit())?;
            let mut value =
                HeaderValue::from_str(&format!("{before}{secret}")).map_err(|_| unfit())?;
            value.set_sensitive(true);
            read.pairs.push((header, value));
            read.secrets.push(secret);
        }
        Ok(read)
    }

    /// `text` without the values, which a server may repeat in what it says.
    pub(super) fn redact(&self, text: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), "[hidden]");
        self.secrets.iter().fold(text.to_owned(), hide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn a_value_is_the_environments_and_is_shown_nowhere() {
        let asked = headers(&[("Authorization", "Bearer env:TOKEN"), ("X-Team", "env:TEAM")]);
        assert_eq!(problem(&asked), None);
        let variable = |name: &str| {
            Some(if name == "TOKEN" { "s3cret\n".to_owned() } else { "blue".to_owned() })
        };
        let read = Headers::read(&asked, variable).unwrap();
        let values: Vec<_> = read.pairs.iter().map(|(_, value)| value.to_str().unwrap()).collect();
        assert_eq!(values, ["Bearer s3cret", "blue"]);
        let shown = format!("{read:?} {:?}", read.pairs);
        assert!(!shown.contains("s3cret") && !shown.contains("blue"), "{shown}");
        assert_eq!(read.redact("no s3cret for blue"), "no [hidden] for [hidden]");
    }

    #[test]
    fn a_variable_that_is_missing_is_named() {
        let asked = headers(&[("Authorization", "env:TOKEN")]);
        for value in [None, Some(String::new()), Some(" \n".to_owned())] {
            let error = Headers::read(&asked, |_| value.clone()).unwrap_err();
            assert!(error.starts_with("headers.Authorization: "), "{error}");
            assert!(error.contains("`TOKEN` is not set"), "{error}");
        }
        let error = Headers::read(&asked, |_| Some("two\nlines".into())).unwrap_err();
        assert!(error.contains("`TOKEN` cannot be sent") && !error.contains("two"), "{error}");
    }

    #[test]
    fn a_value_in_the_recipe_is_refused_without_being_shown() {
        for value in ["hunter2", "", "env:", "env:1A", "env:A B", "Bearer hunter2"] {
            let said = problem(&headers(&[("Authorization", value)])).unwrap();
            assert!(said.starts_with("headers.Authorization: expected \"env:NAME\""), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        for (name, words) in [("a b", "expected the name"), ("Host", "by the request itself")] {
            let said = problem(&headers(&[(name, "env:A")])).unwrap();
            assert!(said.contains(words), "{said}");
        }
        let said = problem(&headers(&[("X-A", "env:A"), ("x-a", "env:A")])).unwrap();
        assert!(said.contains("expected each header once"), "{said}");
    }
}
