use super::*;

fn read(text: &str) -> Fields<'_> {
    Fields::read(text.as_bytes()).unwrap()
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let error = Fields::read(text.as_bytes()).unwrap_err();
    assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
}

#[test]
fn values_are_taken_as_they_are_written() {
    let fields = read(concat!(
        "\u{feff} { \"a\" : \"x\\u00e9\\\"}\" ,\t\"\\u0062\":-12e-3 , \"c\":[ 1, {\"a\":\"]\"} ],",
        "\"d\":{\"a\":{}},\"e\":null}\r"
    ));
    assert_eq!(fields.text("a").unwrap(), "xé\"}");
    assert_eq!(fields.raw("b"), Some("-12e-3"));
    assert_eq!(fields.list("c").unwrap(), ["1", "{\"a\":\"]\"}"]);
    assert_eq!(fields.raw("d"), Some("{\"a\":{}}"));
    assert!(fields.is_absent("e") && fields.is_absent("f") && !fields.is_absent("d"));
    assert_eq!(read("{}").raw("a"), None);
    assert_eq!(read("{\"a\":[]}").list("a").unwrap(), [""; 0]);
    assert_eq!(read("{\"a\":[ [1] ,\n\"x,]\" ]}").list("a").unwrap(), ["[1]", "\"x,]\""]);
}

#[test]
fn numbers_keep_every_digit() {
    for number in [
        "0",
        "-0",
        "42",
        "1.50",
        "1e3",
        "6.02E+23",
        "12345678901234567890123",
        "-9223372036854775809",
        "0.10000000000000000000000001",
        "1e999",
    ] {
        let row = format!("{{\"a\":{number}}}");
        assert_eq!(read(&row).text_or_number("a").unwrap(), number);
    }
    for no_number in
        ["007", "+1", ".5", "1.", "0x10", "1_000", "NaN", "Infinity", "-Infinity", "1e"]
    {
        refused(&format!("{{\"a\":{no_number}}}"), &["column "]);
    }
}

#[test]
fn neither_booleans_nor_null_nor_containers_are_text() {
    for value in ["true", "false", "null", "[\"x\"]", "[]", "{}", "{\"x\":\"y\"}"] {
        let row = format!("{{\"a\":{value}}}");
        let expected = format!("field `a`: expected text or a number, got {value}");
        assert_eq!(read(&row).text_or_number("a").unwrap_err(), expected);
    }
    let error = read("{\"a\":7}").text("a").unwrap_err();
    assert_eq!(error, "field `a`: expected text, got 7");
    let error = read("{\"b\":7,\"c\":1}").text("a").unwrap_err();
    assert_eq!(error, "field `a` is missing: expected text, the object has `b`, `c`");
    assert_eq!(
        read("{\"a\":2}").parsed::<bool>("a", "a truth"),
        Err("field `a`: expected a truth, got 2".into())
    );
    assert_eq!(read("{\"a\":2}").parsed("a", "a number"), Ok(Some(2.0)));
    assert_eq!(read("{\"a\":null}").parsed::<f64>("a", "a number"), Ok(None));
}

#[test]
fn a_name_stands_once_however_it_is_written() {
    refused("{\"a\":1,\"b\":2,\"a\":1}", &["field `a` occurs twice"]);
    refused("{\"a\":1,\"\\u0061\":1}", &["field `a` occurs twice"]);
    // Other names, and names inside values, are no repetition.
    read("{\"a\":1,\"A\":1,\"a \":1,\"b\":{\"a\":1,\"c\":[{\"a\":1}]}}");
}

#[test]
fn what_is_no_object_is_named() {
    let array = ["a JSON array, expected an object"];
    for text in ["[", "[{\"a\":1}]", "[ {\"a\":1},", "[[1],[2]]", "[]"] {
        refused(text, &array);
    }
    for text in ["[\"a\",\"1+1\"]", "[1]", "[null, {}]"] {
        refused(text, &["a list, expected an object"]);
    }
    refused("\"a\"", &["text, expected a JSON object"]);
    refused("-1", &["a number, expected"]);
    refused("null", &["a bare value, expected"]);
    refused("}", &["no JSON, expected a JSON object, got `}`"]);
    refused("- a", &["no JSON", "got `- a`"]);
    refused("\u{1e}\u{1b}[2J", &["got `\\u{1e}\\u{1b}[2J`"]);
    refused("// rows", &["a comment"]);
    refused("# rows", &["a comment"]);
    refused(&"word ".repeat(99), &["no JSON", "…"]);
}

#[test]
fn a_mistake_has_one_column_and_a_hint() {
    refused("{\"a\":1", &["not closed at the end"]);
    refused("{", &["not closed"]);
    refused("{\"a\":\"x", &["not closed"]);
    refused("{\"a\":NaN}", &["column 6", "no NaN"]);
    refused("{\"a\":Infinity}", &["no infinity"]);
    refused("{'a':1}", &["column 2", "double quotes"]);
    refused("{\"a\":'x'}", &["column 6", "double quotes"]);
    refused("{\"a\":1, // one\n\"b\":2}", &["column 9", "no comments"]);
    refused("{\"a\":1 /* one */}", &["column 8", "no comments"]);
    refused("{\"a\":None}", &["column 6", "true, false and null"]);
    refused("{\"a\":007}", &["leading zeros"]);
    refused("{\"a\":1,}", &["column 8", "no comma follows"]);
    refused("{\"a\":1}{\"a\":2}", &["a second value after the object at column 8"]);
    refused("{\"a\":\"x\0\"}", &["a NUL byte at column 8"]);
    let latin = Fields::read(b"{\"a\":\"caf\xe9\"}").unwrap_err();
    assert_eq!(latin, "column 10 is not UTF-8");
    let surrogate = read(r#"{"a":"\ud800"}"#).text("a").unwrap_err();
    assert!(surrogate.starts_with("field `a`: ") && !surrogate.contains("line"), "{surrogate}");
    refused(r#"{"\ud800":1}"#, &["the name"]);
}

#[test]
fn a_row_of_many_fields_takes_no_time_of_its_own() {
    let many: Vec<_> = (0..200_000).map(|name| format!("\"{name}\":1")).collect();
    let row = format!("{{{}}}", many.join(","));
    assert_eq!(read(&row).raw("199999"), Some("1"));
}

#[test]
fn nesting_in_fields_that_nobody_reads_has_no_bound() {
    let deep = format!("{{\"a\":{}1{},\"b\":2}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(&deep).raw("b"), Some("2"));
}
