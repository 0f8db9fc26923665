//! `stearin report`: what is in the file, what is left out of it, and what it refuses.

use std::fs;
use std::path::Path;

use dash::{Report, Unwritten, Wanted, report};
use evals::run::Run as Record;

use crate::binary::{stderr, stearin};
use crate::runs::{RECIPE, Run};

fn of(run: &Path, groups: usize, most: usize) -> Result<Report, Unwritten> {
    report(&Wanted { run: run.to_owned(), against: None, tokenizer: None, groups, most })
}

/// How many answers are in the file to routes that end so.
fn answers(html: &str, route: &str) -> usize {
    let paths = html.split(" data-path=\"").skip(1).filter_map(|part| part.split('"').next());
    paths.filter(|path| path.ends_with(route)).count()
}

#[test]
fn a_report_has_the_groups_that_fit() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("run");
    let recipe = RECIPE.replace("groups = 2", "groups = 99");
    Run { recipe: &recipe, ..Run::new(&root) }.train().unwrap();
    let recorded = Record::open(&root).unwrap().samples().unwrap().index.len();
    assert!(recorded > 6, "{recorded}");

    let whole = of(&root, 4, 8_000_000).unwrap();
    assert_eq!(whole, of(&root, 4, 8_000_000).unwrap(), "two reports of a run are the same");
    let trees = |html: &str| answers(html, "/tree");
    assert_eq!(trees(&whole.html), 4);
    assert!(whole.notes[1].contains(&format!("4 of {recorded} recorded groups")), "{whole:?}");
    assert!(whole.html.contains(&whole.notes[1]));
    for route in ["/series", "/groups", "/health?after=0", "/evals/held-out/6?after=0"] {
        assert_eq!(answers(&whole.html, route), 1, "{route}");
    }
    let none = of(&root, 0, 8_000_000).unwrap();
    assert_eq!(trees(&none.html), 0);
    assert!(none.html.len() < whole.html.len());
    // Room that groups do not take is for evaluations: no half of it stays empty.
    let evaluations = |html: &str| {
        let paths = html.split(" data-path=\"").skip(1).filter_map(|part| part.split('"').next());
        paths.filter(|path| path.contains("/evals/")).count()
    };
    let exact = of(&root, 0, none.html.len() + 4096).unwrap();
    assert!(evaluations(&none.html) > 2);
    assert_eq!(evaluations(&exact.html), evaluations(&none.html));
    // Where there is not room for all, some are in and the file keeps its limit.
    let tight = usize::midpoint(none.html.len(), whole.html.len()) + 4096;
    let some = of(&root, 4, tight).unwrap();
    assert!((1..4).contains(&trees(&some.html)), "{}", trees(&some.html));
    assert!(some.html.len() <= tight);
    assert!(some.notes[1].contains(&format!("{} of {recorded}", trees(&some.html))));

    let error = of(&root, 4, 1000).unwrap_err().to_string();
    assert!(error.contains("use --max-mb 1"), "{error}");
    let error = of(temp.path().join("no").as_path(), 4, 1000).unwrap_err().to_string();
    assert!(error.contains("expected one run, found 0"), "{error}");
}

#[test]
fn a_report_is_written_whole_and_outside_of_the_run() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("runs/one");
    Run::new(&root).train().unwrap();
    let before = fs::read_dir(&root).unwrap().count();
    let said = |arguments: &[&str]| {
        let output = stearin(temp.path(), &[&["report"], arguments].concat());
        (output.status.code(), stderr(&output))
    };
    let (code, text) = said(&["runs/one", "-o", "out/report.html"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("recorded groups"), "{text}");
    assert_eq!(fs::read_dir(temp.path().join("out")).unwrap().count(), 1);
    assert!(
        fs::read_to_string(temp.path().join("out/report.html")).unwrap().ends_with("</html>\n")
    );
    // A name alone, as the README has it.
    let (code, text) = said(&["runs/one", "-o", "report.html"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(temp.path().join("report.html").is_file());
    for (arguments, expected) in [
        (&["runs/one", "-o", "runs/one/report.html"][..], "outside of the run directory"),
        (&["runs/one", "-o", "runs/one/new/report.html"], "outside of the run directory"),
        (&["runs/one", "-o", "out"], "expected a file, got a folder"),
        (&["nothing", "-o", "x.html"], "expected a run directory"),
        (&["out", "-o", "x.html"], "expected one run, found 0"),
        (&["runs/one", "-o", "x.html", "--against", "runs"], "expected another run"),
        (&["runs/one", "-o", "x.html", "--max-mb", "0"], "--max-mb"),
    ] {
        let (code, text) = said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), before);
    assert!(!temp.path().join("x.html").exists());
}
