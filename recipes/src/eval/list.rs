//! What there is to choose from.

use std::fmt::Write as _;

use evals::benchmark;
use serde_json::json;

use super::table::aligned;

/// Benchmarks, protocols and prompt styles.
pub fn list() -> String {
    let head = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![head(&["benchmark", "problems", "n", "what", "licence", "origin"])];
    rows.extend(benchmark::all().iter().map(|one| {
        let origin = one.address();
        let (title, licence) = (one.title.clone(), one.licence.clone());
        let numbers = [one.problems, one.samples].map(|number| number.to_string());
        let [problems, samples] = numbers;
        vec![one.name.clone(), problems, samples, title, licence, origin]
    }));
    let mut text = aligned(&rows);
    let mut rows = vec![head(&["protocol", "n", "temperature", "top-p", "problems", "what"])];
    rows.extend(benchmark::protocols().iter().map(|(name, one)| {
        let or = |number: Option<usize>, other: &str| {
            number.map_or_else(|| other.to_owned(), |number| number.to_string())
        };
        vec![
            name.clone(),
            or(one.samples, "the benchmark's"),
            one.temperature.to_string(),
            one.top_p.to_string(),
            or(one.limit, "all"),
            one.about.clone(),
        ]
    }));
    let _ = write!(text, "\n{}", aligned(&rows));
    let names: Vec<_> = benchmark::styles().keys().map(String::as_str).collect();
    let _ = writeln!(text, "\nprompt styles: {}", names.join(", "));
    let _ = writeln!(
        text,
        "tasks: arithmetic, countdown, each with settings, such as countdown:numbers=4"
    );
    text
}

/// The same as JSON.
pub fn list_json() -> String {
    let names: Vec<_> = benchmark::styles().keys().collect();
    let all = json!({
        "benchmarks": benchmark::all(),
        "protocols": benchmark::protocols(),
        "prompts": names,
    });
    format!("{all:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_all_there_is() {
        let text = list();
        for name in ["aime24", "minerva", "stare-script", "minerva-4shot", "countdown"] {
            assert!(text.contains(name), "{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&list_json()).unwrap();
        assert_eq!(json["benchmarks"][0]["name"], "aime24");
        assert_eq!(json["protocols"]["quick"]["limit"], 64);
    }
}
