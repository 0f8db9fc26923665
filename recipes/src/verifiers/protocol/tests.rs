use super::*;

fn reply(text: &str, judges: bool) -> Result<Verdict, String> {
    Reply::read(text.as_bytes()).unwrap().verdict(judges)
}

#[test]
fn a_reply_is_a_verdict_or_a_reason() {
    let verdict = reply(r#"{"id":1,"reward":0.5,"more":[]}"#, true).unwrap();
    assert_eq!((verdict.reward, verdict.outcome), (0.5, Some(Outcome::Correct)));
    assert!(verdict.by_sign);
    let verdict = reply(r#"{"id":1,"reward":0}"#, true).unwrap();
    assert_eq!(verdict.outcome, Some(Outcome::Wrong));
    let text = r#"{"id":1,"reward":0,"outcome":"no-answer","answer":"7"}"#;
    let verdict = reply(text, true).unwrap();
    assert_eq!((verdict.outcome, verdict.by_sign), (Some(Outcome::NoAnswer), false));
    assert_eq!(verdict.answer.as_deref(), Some("7"));
    assert_eq!(reply(text, false).unwrap(), Verdict::form(0.0));
    assert_eq!(reply(r#"{"id":1,"error":"no","reward":1}"#, true).unwrap_err(), "no");
    let neither = reply(r#"{"id":1,"score":1}"#, true).unwrap_err();
    assert!(neither.starts_with("expected `reward` with a number, or `error` "), "{neither}");
    assert!(neither.contains("got the fields `id`, `score`; a reply is {\"id\""), "{neither}");
    let verdict = reply("\u{feff}{\"id\":1,\"reward\":1,\"answer\":1.50,\"error\":null}", true);
    assert_eq!(verdict.unwrap().answer.as_deref(), Some("1.50"));
}

#[test]
fn further_numbers_come_with_a_verdict_of_either_kind() {
    let text = r#"{"id":1,"reward":1,"metrics":{"passed":2,"ok":true,"none":null,"s":0.5}}"#;
    let expected = [("passed", 2.0), ("ok", 1.0), ("s", 0.5)];
    for judges in [true, false] {
        let metrics = reply(text, judges).unwrap().metrics;
        let found: Vec<_> = metrics.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        assert_eq!(found, expected);
    }
    assert_eq!(reply(r#"{"id":1,"reward":1,"metrics":null}"#, true).unwrap().metrics, []);
}

#[test]
fn the_other_columns_of_a_row_are_in_the_request() {
    let columns = serde_json::from_str(r#"{"tests": ["f(1) == 2"]}"#).unwrap();
    let problem = &rewards::Problem { columns, ..rewards::Problem::default() };
    let attempt = Attempt { problem, text: "t", num_tokens: 1, max_tokens: 2, truncated: false };
    let request = serde_json::to_value(Request::new(0, &attempt)).unwrap();
    assert_eq!(request["columns"], serde_json::json!({ "tests": ["f(1) == 2"] }));
}

#[test]
fn what_is_no_reply_is_refused_by_field() {
    for (text, problem) in [
        (r#"{"reward":1}"#, "field `id` is missing"),
        (
            r#"{"score":1}"#,
            "field `id` is missing: expected {\"id\": N, \"reward\": NUMBER} with the `id` of \
             the attempt, got the field `score`",
        ),
        (r#"{"id":-1,"reward":1}"#, "field `id`: expected the number of an attempt, got -1"),
        (r#"{"id":[1],"reward":1}"#, "field `id`"),
        (r#"{"id":1,"reward":"1"}"#, "field `reward`: expected a number, got \"1\""),
        (r#"{"id":1,"reward":[1]}"#, "field `reward`"),
        (r#"{"id":1,"reward":true}"#, "field `reward`"),
        (r#"{"id":1,"reward":1e999}"#, "field `reward`"),
        (
            r#"{"id":1,"reward":-1e308}"#,
            "field `reward`: expected a number from -1000000000 to 1000000000, got -1e308; for",
        ),
        (r#"{"id":1,"reward":NaN}"#, "JSON has no NaN and no infinity; for a completion"),
        (r#"{"id":1,"reward":-Infinity}"#, "JSON has no NaN and no infinity; "),
        (r#"{"id":1,"answer":"a\"NaN\\","reward":x}"#, "expected value at column"),
        (r#"{"id":1,"reward":1,"outcome":"good"}"#, "field `outcome`"),
        (r#"{"id":1,"reward":1,"answer":["7"]}"#, "field `answer`"),
        (r#"{"id":1,"reward":0,"reward":1}"#, "field `reward` occurs twice"),
        (r#"{"id":1,"reward":0,"metrics":[1]}"#, "field `metrics`: expected an object of"),
        (r#"{"id":1,"reward":0,"metrics":{"a/b":1}}"#, "field `metrics`: expected names of"),
        (r#"{"id":1,"reward":0,"metrics":{"a":"1"}}"#, "field `metrics.a`: expected a number"),
        (r#"[1, 0.5, "correct", "7", null]"#, "a list, expected an object"),
        ("1", "a number, expected a JSON object"),
        ("", "no JSON"),
    ] {
        let error = Reply::read(text.as_bytes()).unwrap_err();
        assert!(error.starts_with(problem), "{text}: {error}");
    }
}

#[test]
fn a_number_too_large_for_a_reward_is_answered_with_the_field_to_use() {
    let said = |reward: &str| {
        Reply::read(format!("{{\"id\":1,\"reward\":{reward}}}").as_bytes()).unwrap_err()
    };
    assert!(said("-1e999").contains("`error` and no `reward`"), "{}", said("-1e999"));
    assert!(!said("true").contains("`error`"), "{}", said("true"));
}

#[test]
fn a_reply_is_quoted_once() {
    let misread = |reply: &str| misread(reply, &Reply::read(reply.as_bytes()).unwrap_err());
    assert_eq!(misread(" hello\n"), "`hello`: no JSON, expected a JSON object");
    let long = "x".repeat(50);
    assert_eq!(misread(&long), format!("`{long}`: no JSON, expected a JSON object"));
    let problem = "field `reward`: expected a number, got true";
    let reply = r#"{"id":1,"reward":true}"#;
    assert_eq!(misread(reply), format!("`{reply}`: {problem}"));
}

#[test]
fn a_request_in_brief_is_a_request() {
    let columns = serde_json::json!({ "tests": vec!["t".repeat(300); 30], "level": 2 });
    let columns = columns.as_object().unwrap().clone();
    let problem = &rewards::Problem {
        problem: "é".repeat(201),
        answer: "g".repeat(200),
        columns,
        ..rewards::Problem::default()
    };
    let attempt =
        Attempt { problem, text: "a \"b\"\n", num_tokens: 1, max_tokens: 2, truncated: false };
    let brief: Value = serde_json::from_str(&in_brief(&Request::new(0, &attempt))).unwrap();
    assert_eq!(brief["problem"], "é".repeat(200) + "…");
    assert_eq!(brief["gold"], problem.answer);
    assert_eq!(brief["completion"], attempt.text);
    assert_eq!(brief["columns"]["level"], 2);
    assert_eq!(brief["columns"]["tests"].as_array().unwrap().len(), 8);
}

#[test]
fn long_text_is_cut_between_characters() {
    assert_eq!(shortened(" short\n"), "short");
    assert_eq!(shortened(&"é".repeat(99)), "é".repeat(80) + "…");
    assert_eq!(shortened("a\u{1b}[2Jb\rc"), "a\u{fffd}[2Jb\u{fffd}c");
}
