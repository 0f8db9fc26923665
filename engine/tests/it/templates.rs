//! The language of chat templates against Jinja2.

use std::path::Path;
use std::time::{Duration, Instant};

use engine::Text;
use serde_json::{Value as Json, json};

use crate::disk;

fn vectors() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/template_vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn text() -> Text {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in disk::text(8).to_files().unwrap() {
        std::fs::write(folder.path().join(name), contents).unwrap();
    }
    let config = disk::vectors()["special_tokens"].to_string();
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    Text::from_folder(folder.path(), &Json::Null).unwrap()
}

fn render_with(source: &str, args: &Json) -> Result<String, String> {
    let text = text().with_template(source.to_owned());
    let text = text.with_template_args(args.as_object().unwrap().clone());
    text.render(Some("Be brief."), "What is 6 * 7?").map_err(|e| e.to_string())
}

fn render(source: &str) -> Result<String, String> {
    render_with(source, &json!({}))
}

/// What of Jinja2's vocabulary is refused, by what the message says, and why.
const REFUSED: [(&str, &str); 20] = [
    ("there is no text for a generator", "Python prints its address"),
    ("there is no text for a namespace", "may hold itself"),
    ("`sameas` is not supported for 'str'", "depends on which texts Python shares"),
    ("`sameas` is not supported for 'float'", "depends on which floats Python shares"),
    ("beyond integers of 128 bits", "Python's integers have no end"),
    ("filter `pprint` is not supported", "lays out by the width of a terminal"),
    ("filter `random` is not supported", "a prompt is a function of its problem"),
    ("function `lipsum` is not supported", "a prompt is a function of its problem"),
    ("filter `striptags` is not supported", "for web pages"),
    ("filter `urlize` is not supported", "for web pages"),
    ("filter `wordwrap` is not supported", "for web pages"),
    ("filter `xmlattr` is not supported", "for web pages"),
    ("statement `autoescape` is not supported", "for web pages"),
    ("statement `block` is not supported", "there is no other template"),
    ("`self` is not supported", "there is no other template"),
    ("method `str.", "bytes and tables of characters"),
    ("method `function.fromkeys` is not supported", "rare"),
    ("`casefold` of text beyond ASCII is not supported", "needs a table"),
    ("escape", "names of characters, and halves of characters"),
    ("of `strftime_now` is not supported", "codes that glibc does not know, and epoch seconds"),
];

#[test]
fn every_template_renders_as_in_jinja2_or_is_refused_by_name() {
    let vectors = vectors();
    let context = vectors["context"].as_object().unwrap();
    let text = text().with_template_args(context.clone());
    let (mut wrong, mut rows, mut refused) = (Vec::new(), 0, [0; REFUSED.len()]);
    for (name, table) in vectors["table"].as_object().unwrap() {
        for row in table.as_array().unwrap() {
            rows += 1;
            let source = row[0].as_str().unwrap();
            let text = text.clone().with_template(source.to_owned());
            match (text.render(Some("Be brief."), "What is 6 * 7?"), row[1].as_str()) {
                (Ok(got), Some(want)) if got == want => {}
                (Err(_), None) => {}
                (Err(e), Some(want)) => {
                    let message = e.to_string();
                    match REFUSED.iter().position(|(text, _)| message.contains(text)) {
                        Some(at) => refused[at] += 1,
                        None => wrong.push(format!("{name}: {source:?}\n  {e}\n  want {want:?}")),
                    }
                }
                (Ok(got), want) => {
                    wrong.push(format!("{name}: {source:?}\n  got  {got:?}\n  want {want:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {rows}\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows > 3000, "{rows}");
    assert!(refused.iter().all(|&count| count > 0), "a reason that no row has: {refused:?}");
    assert!(refused.iter().sum::<usize>() < 50, "{refused:?}");
}

#[test]
fn a_template_without_end_is_stopped_and_named() {
    let sources = [
        "{% for a in range(100000) %}{% for b in range(100000) %}{{ a * b }}{% endfor %}{% endfor %}",
        "{% set n = namespace(s='ab') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s|tojson }}",
        "{% set n = namespace(s=[1]) %}{% for a in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s == n.s }}{{ n.s < [n.s] }}",
        "{{ 'a' * 10 ** 10 }}",
        "{{ [1] * 10 ** 10 }}",
        "{{ ('a' * 10 ** 6).replace('a', 'b' * 10 ** 6) }}",
        "{{ ('ab ' * 10 ** 6).split()|join('x' * 10 ** 6) }}",
        "{{ 'a'.center(10 ** 12) }}",
        "{{ ('\\t' * 10 ** 6).expandtabs(10 ** 6) }}",
        "{{ 'a'|indent(10 ** 12) }}",
        "{{ l|batch(10 ** 12, 'x')|list }}",
        "{{ l|slice(10 ** 12)|list }}",
        "{{ {'a': 1}|tojson(indent=10 ** 12) }}",
        "{% for a in range(100000) %}{{ range(100000)|sort|length }}{% endfor %}",
        "{% for a in range(100000) %}{{ 99999 in range(100000)|list }}{% endfor %}",
        "{% macro m() %}{% for a in range(100000) %}{{ m is defined }}{% endfor %}{% endmacro %}{% for a in range(100000) %}{{ m() }}{% endfor %}",
    ];
    for source in sources {
        let start = Instant::now();
        let error = render_with(source, &json!({ "l": [1, 2] })).unwrap_err();
        assert!(
            error.starts_with("text: chat template line 1: stopped at the bound of"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(20), "{source}: {:?}", start.elapsed());
    }
}

#[test]
fn looking_through_long_text_again_and_again_is_stopped() {
    let text = "{% set s = 'a' * 1000000 %}{% set t = 'b' * 1000000 ~ 'a' %}{% set d = {s: 1} %}";
    let items = "{% set l = range(1000)|list %}{% set many = [s] * 1000 %}";
    for operation in [
        "s|length",
        "s|count",
        "s[-1:]",
        "s[:1]",
        "s[::-999999]",
        "s|int",
        "s|int(base=16)",
        "s|float",
        "'x'|truncate(2000000, end=s)",
        "[]|sum(attribute=s)",
        "s|attr(s)",
        "'a'.find(s)",
        "'a' in s",
        "s in 'a'",
        "s.strip(t)",
        "'a'.startswith((s, t))",
        "s is sameas t",
        "d[s]",
        "d.get(s)",
        "s in d",
        "{s: 1}",
        "d.keys() == d.keys()",
        "d|tojson",
        "[1, 2]|tojson(separators=(s, s))",
        "l|unique",
        "many|unique|list|length",
        "l|map('string')|first",
    ] {
        let source = format!(
            "{text}{items}{{% for i in range(100000) %}}{{% set x = {operation} %}}{{% endfor %}}"
        );
        let start = Instant::now();
        let error = render(&source).expect_err(operation);
        assert!(error.contains("stopped at the bound of"), "{operation}: {error}");
        assert!(start.elapsed() < Duration::from_secs(8), "{operation}: {:?}", start.elapsed());
    }
    // A key that is a tuple of tuples has as many parts as it is written with.
    let tuples = "{% set n = namespace(t=(1,)) %}{% for a in range(60) %}{% set n.t = (n.t, n.t) %}\
                  {% endfor %}{{ {1: 2}[n.t] }}";
    assert!(render(tuples).unwrap_err().contains("stopped at the bound of"));
    // Once is no trouble.
    let once =
        format!("{text}{{{{ s|length + s[-1:]|length + d[s] + [s, t, s]|unique|list|length }}}}");
    assert_eq!(render(&once).unwrap(), "1000004");
    assert_eq!(render("{{ 'xxabyx'.strip('yx') ~ 'a'.strip('') }}").unwrap(), "aba");
    let keys =
        "{{ {1: 2, 'a': 3}.keys() == {'a': 1, 1: 0}.keys() }}{{ {1: 2}.keys() == {2: 2}.keys() }}";
    assert_eq!(render(keys).unwrap(), "TrueFalse");
}

#[test]
fn recursion_and_nesting_without_end_are_errors() {
    let calls = "{% macro m(n) %}{% if true %}{{ m(n + 1) }}{% endif %}{% endmacro %}{{ m(0) }}";
    assert!(render(calls).unwrap_err().contains("a macro calls itself too often"));
    let loops = "{% for a in [[1]] recursive %}{{ loop([[a]]) }}{% endfor %}";
    assert!(render(loops).unwrap_err().contains("stopped at the bound"));
    let lists =
        "{% set n = namespace(s=[]) %}{% for a in range(999) %}{% set n.s = [n.s] %}{% endfor %}";
    assert!(render(lists).unwrap_err().contains("nested more than 200 deep"));
    // A namespace may hold itself, or a chain of others, and is still let go.
    let itself = "{% set n = namespace() %}{% set n.a = n %}{% set n.b = [n] %}ok";
    assert_eq!(render(itself).unwrap(), "ok");
    let chain = "{% set n = namespace() %}{% for a in range(50000) %}{% set n.a = namespace(a=n.a) %}{% endfor %}ok";
    assert_eq!(render(chain).unwrap(), "ok");
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{1:", "}"), ("-", ""), ("not ", ""), ("a[", "]")]
    {
        let deep = format!("{{{{ {}1{} }}}}", open.repeat(50_000), close.repeat(50_000));
        assert!(render(&deep).unwrap_err().contains("100 deep"), "{open}");
    }
    for chain in ["1 + ", "1 ** ", "'a' ~ ", "1 or ", "1 and ", "1 if 1 else ", "1 < "] {
        let long = format!("{{{{ {}1 }}}}", chain.repeat(20_000));
        let _ = render(&long);
    }
    for chain in ["|upper", ".a", "[0]", "()", " is odd"] {
        let long = format!("{{{{ a{} }}}}", chain.repeat(20_000));
        assert!(render(&long).is_err(), "{chain}");
    }
    let blocks = format!("{}x{}", "{% if 1 %}".repeat(5_000), "{% endif %}".repeat(5_000));
    assert!(render(&blocks).unwrap_err().contains("100 deep"));
}

#[test]
fn a_long_conversation_stays_within_the_bound() {
    let source = "{% for m in messages %}{{ m.content|trim }}{% for w in m.content.split() %}\
                  {{ w|upper ~ loop.index }}{% endfor %}{% endfor %}";
    let text = text().with_template(source.to_owned());
    let words = "many words ".repeat(50_000);
    assert!(text.render(None, &words).unwrap().len() > 1_000_000);
}

#[test]
fn line_ends_of_any_system_are_one_character() {
    let unix = "a\n{% if true %}\n  b {{ 'c\nd' }}\n{% endif %}\n{{ messages[1].content }}\n";
    let want = "a\n  b c\nd\nWhat is 6 * 7?";
    for ends in ["\n", "\r\n", "\r"] {
        assert_eq!(render(&unix.replace('\n', ends)).unwrap(), want, "{ends:?}");
    }
    // Those of an escape and of the conversation stay.
    assert_eq!(render("{{ 'a\\r\\nb' }}").unwrap(), "a\r\nb");
    let text = text().with_template("{{ messages[0].content }}".into());
    assert_eq!(text.render(None, "a\r\nb\r").unwrap(), "a\r\nb\r");
}

#[test]
fn one_line_end_at_the_end_is_dropped() {
    for (source, want) in
        [("a\n", "a"), ("a\n\n", "a\n"), ("a\r\n", "a"), ("a\r", "a"), ("a \n", "a ")]
    {
        assert_eq!(render(source).unwrap(), want, "{source:?}");
    }
}

#[test]
fn arguments_are_names_of_the_template() {
    let source =
        "{{ enable_thinking is defined and enable_thinking is false }}{{ effort|default('low') }}";
    assert_eq!(render(source).unwrap(), "Falselow");
    let args = json!({ "enable_thinking": false, "effort": "high" });
    assert_eq!(render_with(source, &args).unwrap(), "Truehigh");
    assert_eq!(render_with(source, &json!({ "enable_thinking": true })).unwrap(), "Falselow");
}

#[test]
fn tools_and_documents_are_none_until_they_are_given() {
    let source = "{{ tools is defined }}{{ tools is none }}{{ tools is iterable }}{{ documents is iterable }}\
                  {% if tools is iterable and tools|length > 0 %}{{ tools[0].name }}{% endif %}";
    assert_eq!(render(source).unwrap(), "TrueTrueFalseFalse");
    let args = json!({ "tools": [{ "name": "add" }], "documents": [] });
    assert_eq!(render_with(source, &args).unwrap(), "TrueFalseTrueTrueadd");
}

#[test]
fn the_conversation_goes_before_arguments() {
    let args = json!({ "messages": [], "add_generation_prompt": false });
    let source = "{{ messages|length }}{{ add_generation_prompt }}";
    assert_eq!(render_with(source, &args).unwrap(), "2True");
    let taken = [
        "messages",
        "add_generation_prompt",
        "bos_token",
        "pad_token",
        "loop",
        "range",
        "none",
        "a b",
        "",
        "1a",
    ];
    assert!(taken.iter().all(|name| Text::reserved_template_arg(name).is_some()));
    let free = ["enable_thinking", "tools", "documents", "date_string", "_x", "token"];
    assert!(free.iter().all(|name| Text::reserved_template_arg(name).is_none()));
}

#[test]
fn arguments_that_nobody_reads_are_known() {
    let source = "{% if a %}{{ b.c }}{% endif %}{% macro m(d=e) %}{{ f }}{% endmacro %}";
    let text = text().with_template(source.into());
    let args = json!({ "a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1 });
    let text = text.with_template_args(args.as_object().unwrap().clone());
    assert_eq!(text.unread_template_args().unwrap(), ["c", "d", "g"]);
}

#[test]
fn a_template_is_parsed_when_it_is_needed() {
    let text = text().with_template("line one\n{% if %}".into());
    assert_eq!(text.template(), Some("line one\n{% if %}"));
    for _ in 0..2 {
        let error = text.render(None, "").unwrap_err().to_string();
        assert_eq!(
            error,
            "text: chat template line 2: expected an expression, got the end of '{%'"
        );
    }
}

#[test]
fn errors_name_the_line_and_what_was_meant() {
    for (source, want) in [
        ("\n\n{{ a.b }}", "line 3: 'a' is undefined"),
        ("{{ messages[0].name.first }}", "line 1: 'dict' has no attribute 'name'"),
        ("{{ 'a' < 1 }}", "line 1: '<' is not supported between 'str' and 'int'"),
        ("a\n{{ 1|nope }}", "line 2: there is no filter `nope`"),
        ("{{ 1 is nope }}", "line 1: there is no test `nope`"),
        ("{% nope %}", "line 1: unknown statement `nope`"),
        ("{{ 'a'|replace('b') }}", "`replace` needs the argument `new`"),
        ("{{ 1|tojson(indents=2) }}", "`tojson` has no argument `indents`, expected one of"),
        ("{% if 1 %}\na", "expected `elif` or `else` or `endif`, got the end of the template"),
        ("{{ 'a }}", "a text in ' does not end"),
        ("{# a", "a comment does not end"),
        ("{{ [1).a }}", "unexpected ')', expected ']'"),
        ("{{ messages.append(1) }}", "access to attribute 'append' is unsafe"),
        ("{{ raise_exception('only two turns') }}", "line 1: only two turns"),
    ] {
        let error = render(source).unwrap_err();
        assert!(error.contains(want), "{source:?}: {error}");
    }
}
