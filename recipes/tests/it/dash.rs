//! `stearin dash`: what it answers is what the record has.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use dash::{Options, PATIENCE, Server};
use evals::run::{Run as Record, Samples};
use serde_json::Value;

use crate::runs::{RECIPE, Run};

/// The address of a server over `folder`, which lives as long as the tests.
fn serve(folder: &Path) -> String {
    let options = Options {
        folders: vec![folder.to_owned()],
        port: 0,
        tokenizer: None,
        reroll: None,
        patience: PATIENCE,
    };
    let server = Server::bind(options).unwrap();
    let address = server.address().unwrap();
    thread::spawn(move || server.run());
    format!("http://{address}")
}

fn ask(url: &str, host: Option<&str>) -> (u16, Vec<u8>, BTreeMap<String, String>) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(url);
    if let Some(host) = host {
        request = request.header("Host", host);
    }
    let mut answer = request.call().unwrap();
    let headers = answer.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let (status, headers) = (answer.status().as_u16(), headers.collect());
    (status, answer.body_mut().read_to_vec().unwrap(), headers)
}

#[track_caller]
fn json(url: &str) -> Value {
    let (status, body, _) = ask(url, None);
    assert_eq!(status, 200, "{url}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// Header and columns of a binary answer, by their names.
fn columns(
    url: &str,
    names: impl Fn(&Value) -> Vec<String>,
) -> (Value, BTreeMap<String, Vec<f64>>) {
    let (status, body, _) = ask(url, None);
    assert_eq!(status, 200, "{url}");
    let length = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&body[4..4 + length]).unwrap();
    let data = &body[(4 + length).next_multiple_of(8)..];
    let values: Vec<_> =
        data.chunks_exact(8).map(|own| f64::from_le_bytes(own.try_into().unwrap())).collect();
    let names = names(&header);
    let rows = values.len() / names.len();
    let each = names.into_iter().zip(values.chunks(rows.max(1)).map(<[f64]>::to_vec));
    (header, each.collect())
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_number_is_the_records() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("runs/small");
    Run { recipe: &RECIPE.replace("groups = 2", "groups = 99"), ..Run::new(&root) }
        .train()
        .unwrap();
    let url = serve(temp.path());
    let runs = json(&format!("{url}/api/v1/runs"));
    assert_eq!(runs.as_array().unwrap().len(), 1);
    assert_eq!((&runs[0]["state"], &runs[0]["step"]), (&"finished".into(), &6.into()));
    let run = format!("{url}/api/v1/runs/{}", runs[0]["id"].as_str().unwrap());
    let about = json(&run);
    assert_eq!(about["problems"], Value::Array(Vec::new()));
    assert_eq!(about["stages"][1]["to"], 6);

    let record = Record::open(&root).unwrap();
    let (metrics, samples) = (record.metrics().unwrap(), record.samples().unwrap());
    let keys: Vec<_> = about["keys"].as_array().unwrap().iter().collect();
    let keys: Vec<_> = keys.iter().map(|key| key["key"].as_str().unwrap().to_owned()).collect();
    assert!(metrics.keys().iter().all(|key| keys.contains(key)));
    let query = format!("{run}/series?keys={}", keys.join(","));
    let named = |header: &Value| [vec!["step".into()], texts(&header["keys"])].concat();
    let (_, series) = columns(&query, named);
    assert_eq!(series["step"], metrics.steps().iter().map(|&step| step as f64).collect::<Vec<_>>());
    let mut absent = 0;
    for key in metrics.keys() {
        for (row, value) in series[key].iter().enumerate() {
            match metrics.get(row, key) {
                Some(own) if own.is_nan() => assert!(value.is_infinite(), "{key}"),
                Some(own) => assert_eq!(value.to_bits(), own.to_bits(), "{key}"),
                None => assert!(value.is_nan(), "{key}"),
            }
            absent += usize::from(metrics.get(row, key).is_none());
        }
    }
    assert!(absent > 0, "supervised steps lack what only sampling has");
    let (header, later) = columns(&format!("{run}/series?keys=actor/entropy&from=5"), named);
    assert_eq!((later["step"].clone(), &header["from"]), (vec![5.0, 6.0], &5.into()));

    groups_are_the_records(&run, &samples);
    let evaluations = record.evaluations().0;
    for summary in &evaluations {
        let page = json(&format!("{run}/evals/{}/{}", summary.set, summary.step));
        assert_eq!(page["summary"], serde_json::to_value(summary).unwrap());
        assert_eq!(page["lines"].as_array().unwrap().len(), summary.asked);
    }
    assert!(evaluations.len() > 2);
}

#[test]
fn tokens_of_evaluated_problems_are_answered_where_they_are_kept() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("runs/small");
    let recipe = RECIPE.replace("every = 2\n", "every = 2\nsamples = 3\ntokens = 2\n");
    assert_ne!(recipe, RECIPE);
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let url = serve(temp.path());
    let runs = json(&format!("{url}/api/v1/runs"));
    let run = format!("{url}/api/v1/runs/{}", runs[0]["id"].as_str().unwrap());
    let samples = Samples::of_evaluation(&root, "held-out");
    let all = samples.tokens(2).unwrap().read().unwrap();
    assert_eq!((all.prompt_start.len(), all.completion_group.len()), (3, 6));
    let problem = |number: u64| format!("{run}/evals/held-out/2/{number}");
    for number in [0, 1] {
        let line = json(&problem(number));
        let (header, found) =
            columns(&format!("{}/tokens", problem(number)), |header| texts(&header["columns"]));
        let siblings = header["siblings"].as_array().unwrap().iter();
        let lengths: Vec<_> = siblings
            .map(|one| one["to"].as_u64().unwrap() - one["from"].as_u64().unwrap())
            .collect();
        assert_eq!(Value::from(lengths), line["lengths"]);
        let starts = &all.completion_start[3 * number as usize..=3 * number as usize + 3];
        let rows = starts[0] as usize..starts[3] as usize;
        let own = all.entropy[rows].iter().map(|&value| f64::from(value).to_bits());
        assert!(own.eq(found["entropy"].iter().map(|value| value.to_bits())));
        let tree = json(&format!("{}/tree", problem(number)));
        assert!(!tree.as_array().unwrap().is_empty());
        // The page asks for them where they are.
        let id = line["id"].as_str().unwrap().replace('+', "%2B");
        let places = json(&format!("{run}/problem?id={id}"));
        let is_here = |place: &&Value| place["where"] == "held-out" && place["step"] == 2;
        let place = places.as_array().unwrap().iter().find(is_here).unwrap();
        assert_eq!(place["number"], number);
    }
    let (status, body, _) = ask(&format!("{}/tokens", problem(2)), None);
    assert!(status >= 400, "{}", String::from_utf8_lossy(&body));
    // The greedy completions and runs without the key have none.
    fs::remove_file(root.join("evals/step-000002/held-out.safetensors")).unwrap();
    let (status, body, _) = ask(&format!("{}/tree", problem(0)), None);
    let said = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 404 && said.contains("eval.tokens"), "{status} {said}");
}

fn groups_are_the_records(run: &str, samples: &Samples) {
    let lines = json(&format!("{run}/groups?sort=-length"));
    assert_eq!(lines["lines"].as_array().unwrap().len(), samples.index.len());
    for entry in &samples.index {
        let group = format!("{run}/groups/{}/{}", entry.step, entry.group);
        assert_eq!(json(&group), serde_json::to_value(samples.group(entry).unwrap()).unwrap());
        // An f32 has other digits where it goes by way of a `Value`.
        let tree = serde_json::to_vec(&samples.tree(entry).unwrap()).unwrap();
        let tree: Value = serde_json::from_slice(&tree).unwrap();
        assert_eq!(json(&format!("{group}/tree")), tree);
        let tokens = samples.tokens(entry.step).unwrap().read().unwrap();
        let (header, found) =
            columns(&format!("{group}/tokens"), |header| texts(&header["columns"]));
        let rows = entry.rows[0] as usize..entry.rows[1] as usize;
        for (name, own) in [
            ("log_prob", &tokens.log_prob),
            ("entropy", &tokens.entropy),
            ("weight", &tokens.weight),
            ("ref_log_prob", tokens.ref_log_prob.as_ref().unwrap()),
            ("new_log_prob", tokens.new_log_prob.as_ref().unwrap()),
        ] {
            let own = own[rows.clone()].iter().map(|&value| f64::from(value).to_bits());
            assert!(found[name].iter().map(|value| value.to_bits()).eq(own), "{name}");
        }
        assert_eq!(header["siblings"].as_array().unwrap().len(), entry.n);
        let (one, _) =
            columns(&format!("{group}/tokens?siblings=1"), |header| texts(&header["columns"]));
        assert_eq!(one["n"], entry.lengths[1]);
    }
}

#[test]
fn only_this_machine_is_answered_and_only_what_exists() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run::new(&root).train().unwrap();
    fs::write(temp.path().join("secret"), "x").unwrap();
    let url = serve(temp.path());
    let (status, page, headers) = ask(&url, None);
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, 200);
    assert!(
        headers["content-security-policy"].starts_with("default-src 'none'; script-src 'self'")
    );
    let script = page.split("type=\"module\" src=\"").nth(1).unwrap().split('"').next().unwrap();
    let (status, _, headers) = ask(&format!("{url}{script}"), None);
    assert_eq!((status, headers["content-type"].as_str()), (200, "text/javascript; charset=utf-8"));
    assert!(headers["cache-control"].contains("immutable"));
    let id = json(&format!("{url}/api/v1/runs"))[0]["id"].as_str().unwrap().to_owned();
    let assets = script.trim_end_matches("/main.js");
    for (path, host, expected) in [
        ("/", Some("evil.test"), 403),
        ("/api/v1/runs", Some("localhost.evil.test"), 403),
        ("/", Some("localhost:1"), 200),
        ("/nothing", None, 404),
        (&format!("{assets}/../../secret"), None, 404),
        (&format!("{assets}/..%2f..%2fsecret"), None, 404),
        (&format!("{assets}/%2e%2e/secret"), None, 404),
        ("/assets/00000000/main.js", None, 404),
        ("/api/v1/runs/none", None, 404),
        (&format!("/api/v1/runs/{id}/groups/1/0"), None, 404),
        (&format!("/api/v1/runs/{id}/groups/99999999999999999999/0"), None, 400),
        (&format!("/api/v1/runs/{id}/groups?sort=x"), None, 400),
        (&format!("/api/v1/runs/{id}/groups?solved=x"), None, 400),
        (&format!("/api/v1/runs/{id}/groups?after=99999"), None, 200),
        (&format!("/api/v1/runs/{id}/evals/..%2f..%2frun/0"), None, 404),
        (&format!("/api/v1/runs/{id}/series?keys=none&from=99"), None, 200),
        ("/api/v1/score", None, 400),
    ] {
        let (status, body, headers) = ask(&format!("{url}{path}"), host);
        let body = String::from_utf8_lossy(&body);
        assert_eq!(status, expected, "{path}: {body}");
        for name in ["content-security-policy", "x-content-type-options", "referrer-policy"] {
            assert!(headers.contains_key(name), "{path} lacks {name}");
        }
    }
}

#[test]
fn a_run_that_grows_is_read_on_and_one_that_is_cut_is_read_again() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run { one_step: true, ..Run::new(&root) }.train().unwrap();
    let url = serve(temp.path());
    let run = format!(
        "{url}/api/v1/runs/{}",
        json(&format!("{url}/api/v1/runs"))[0]["id"].as_str().unwrap()
    );
    let named = |header: &Value| [vec!["step".into()], texts(&header["keys"])].concat();
    let steps = || columns(&format!("{run}/series?keys=actor/lr"), named);
    let (first, before) = steps();
    Run::resumed(&root).train().unwrap();
    let (then, after) = steps();
    assert!(after["step"].len() > before["step"].len());
    assert_eq!(after["step"].last(), Some(&6.0));
    assert_ne!(first["generation"], then["generation"]);
    // Damage is named, and the rest is shown.
    let index = root.join("samples/index.jsonl");
    fs::write(&index, fs::read_to_string(&index).unwrap() + "{\"step\":\n").unwrap();
    let about = json(&run);
    let problems = about["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0]["file"].as_str().unwrap().ends_with("index.jsonl"));
    fs::remove_dir_all(root.join("samples")).unwrap();
    assert_eq!(json(&run)["sampled"], Value::Array(Vec::new()));
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(ask(&run, None).0, 410);
}

/// A folder that another run took has that one's numbers, however long the log was.
#[test]
fn a_folder_that_another_run_took_is_read_from_its_start() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run::new(&root).train().unwrap();
    let url = serve(temp.path());
    let asked = || {
        let id = json(&format!("{url}/api/v1/runs"))[0]["id"].as_str().unwrap().to_owned();
        let key = "actor/entropy";
        json(&format!("{url}/api/v1/runs/{id}/series?keys={key}&format=json"))["values"].clone()
    };
    let first = asked();
    fs::remove_dir_all(&root).unwrap();
    let recipe = RECIPE.replace("seed = 3", "seed = 4");
    assert_ne!(recipe, RECIPE);
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let own = Record::open(&root).unwrap().metrics().unwrap();
    let last = own.points("actor/entropy").next_back().unwrap().1;
    let second = asked();
    assert_ne!(first, second);
    let column = second.as_array().unwrap()[1].as_array().unwrap();
    assert_eq!(column.last().unwrap().as_f64().unwrap().to_bits(), last.to_bits());
}

/// Damage that a reader would wait for, or take for much more than it is.
#[cfg(unix)]
#[test]
fn a_pipe_in_place_of_the_facts_is_a_problem_and_no_wait() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("small");
    Run::new(&root).train().unwrap();
    let status = fs::read_to_string(root.join("status.json")).unwrap();
    fs::write(root.join("status.json"), status.replacen("\"format\": 2", "\"format\": 3", 1))
        .unwrap();
    fs::remove_file(root.join("run.json")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.join("run.json")).status().unwrap();
    assert!(made.success());
    let url = serve(temp.path());
    let runs = json(&format!("{url}/api/v1/runs"));
    assert!(runs[0]["problems"].as_u64().unwrap() >= 2, "{runs}");
}
