//! Whether what the command of a verifier names is there, before anything is started.

use std::path::{Path, PathBuf};

use crate::printable::literal;

/// Programs that run a script given as an argument. Others, such as `ssh` or `docker`, may take it
/// from elsewhere.
const INTERPRETERS: [&str; 17] = [
    "bash", "bun", "dash", "deno", "ksh", "lua", "luajit", "node", "perl", "pypy", "pypy3",
    "python", "ruby", "sh", "ts-node", "tsx", "zsh",
];
/// Extensions of scripts.
const SCRIPTS: [&str; 9] = ["js", "lua", "mjs", "pl", "py", "rb", "sh", "ts", "cjs"];

/// What is wrong with a command: its program or its script is missing.
pub(super) fn problem(command: &[String]) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    if !exists(program) {
        if program.split_whitespace().nth(1).is_some() {
            let list = as_list(program);
            let mut words = vec![list.trim_end_matches(']').to_owned()];
            words.extend(arguments.iter().map(|word| literal(word)));
            let words = words.join(", ");
            return Some(format!(
                "there is no program `{program}`: write its words as separate strings: \
                 `command = {words}]`"
            ));
        }
        let where_to = if program.contains('/') {
            format!("at that path{}", started_in(Path::new(program)))
        } else {
            "in any folder of PATH: install it, or write its path (`./NAME` for a file in the \
             folder where stearin is started)"
                .to_owned()
        };
        return Some(format!("there is no program `{program}` {where_to}"));
    }
    let script = script(program, arguments)?;
    let path = Path::new(script);
    (!path.is_file()).then(|| {
        format!(
            "there is no file `{script}`{}: write its whole path, or start stearin in the folder \
             that it is relative to",
            started_in(path)
        )
    })
}

/// The folder that a relative path starts from.
fn started_in(path: &Path) -> String {
    let folder = std::env::current_dir().ok().filter(|_| path.is_relative());
    let shown = |folder: PathBuf| format!(" in {}, where stearin was started", folder.display());
    folder.map(shown).unwrap_or_default()
}

/// The script that an interpreter is to run, where it is a file.
fn script<'a>(program: &str, arguments: &'a [String]) -> Option<&'a str> {
    let name = Path::new(program).file_stem()?.to_str()?;
    // `python3.12` and `python3` are `python`.
    let family = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&name) && !INTERPRETERS.contains(&family) {
        return None;
    }
    // What follows `-c`, `-e` and `-m` is code or a module, and all else belongs to it.
    let is_code = |word: &str| {
        let short = word.starts_with('-') && !word.starts_with("--");
        matches!(word, "-" | "--eval" | "--print") || short && word.ends_with(['c', 'e', 'm', 'p'])
    };
    let values: &[&str] = match family {
        "python" | "pypy" => &["-X", "-W"],
        "node" => &["-r", "--require", "--import"],
        _ => &[],
    };
    let mut words = arguments.iter().map(String::as_str);
    let first = loop {
        let word = words.next()?;
        let value = values.iter().find(|option| word.starts_with(**option));
        if value.is_none() && is_code(word) {
            return None;
        }
        if value == Some(&word) {
            words.next();
        } else if !word.starts_with('-') {
            break word;
        }
    };
    // Another word may be the value of an option, or a script without an extension.
    (!first.contains("://") && is_script(first)).then_some(first)
}

/// Whether a word ends as the name of a script does.
pub(crate) fn is_script(word: &str) -> bool {
    let extension = Path::new(word).extension().and_then(|it| it.to_str());
    extension.is_some_and(|it| SCRIPTS.contains(&it))
}

/// A command in one text as the list that a recipe has: its words or, where it needs a shell, the
/// shell that runs it.
pub(crate) fn as_list(command: &str) -> String {
    const OF_SHELL: &[char] = &['"', '\'', '|', '=', '$', '&', ';', '<', '>', '`', '*', '\\'];
    let words: Vec<_> = if command.contains(OF_SHELL) {
        vec!["sh", "-c", command]
    } else {
        command.split_whitespace().collect()
    };
    let words: Vec<_> = words.into_iter().map(literal).collect();
    format!("[{}]", words.join(", "))
}

/// Whether a program can be found as the system does: by its path, or else by name in `PATH`.
fn exists(program: &str) -> bool {
    if cfg!(not(unix)) {
        // A program may be started there by less than its whole name.
        return true;
    }
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<String> {
        command.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_script_of_an_interpreter_is_found_and_no_other_word() {
        for (command, found) in [
            ("python3 judge.py", Some("judge.py")),
            (
                "/usr/bin/python3.12 -u -X dev tools/judge.py --rules rules.py",
                Some("tools/judge.py"),
            ),
            ("sh ./judge.sh", Some("./judge.sh")),
            ("node judge.mjs", Some("judge.mjs")),
            ("python3 -m judge.py", None),
            ("bash -lc judge.sh", None),
            ("node --eval judge.js", None),
            ("deno run https://example.com/judge.ts", None),
            ("ssh host python3 judge.py", None),
            ("docker run image judge.py", None),
            ("python3 judge", None),
            ("bash wrap judge.py", None),
            ("python3 wrap --rules /opt/x/rules.py", None),
            ("sh entry judge.py", None),
            ("bash --rcfile rc judge.sh", None),
            ("python3 -W ignore judge.py", Some("judge.py")),
            ("python3 -Wignore -O judge.py rules.py", Some("judge.py")),
            ("perl -W judge.pl rules.pl", Some("judge.pl")),
            ("node -r ./hook.js judge.mjs", Some("judge.mjs")),
            ("python3 -m judge rules.py", None),
            ("python3 -c pass rules.py", None),
            ("python3 - rules.py", None),
            ("python3 -u -X dev", None),
        ] {
            let command = words(command);
            assert_eq!(script(&command[0], &command[1..]), found, "{command:?}");
        }
    }

    #[test]
    fn a_command_in_one_text_is_split_or_given_to_a_shell() {
        for (command, list) in [
            ("python3  judge.py", r#"["python3", "judge.py"]"#),
            ("A=1 judge", r#"["sh", "-c", "A=1 judge"]"#),
            ("judge \"a b\" | tee $LOG", r#"["sh", "-c", "judge \"a b\" | tee $LOG"]"#),
            ("a\u{1}b", r#"["a\u0001b"]"#),
        ] {
            assert_eq!(as_list(command), list);
            let read: toml::Table = toml::from_str(&format!("command = {list}")).unwrap();
            assert!(read["command"].is_array());
        }
        for (command, list) in [
            (vec!["python3 judge.py"], r#"["python3", "judge.py"]"#),
            (vec!["python3 judge.py", "--x y"], r#"["python3", "judge.py", "--x y"]"#),
        ] {
            let command: Vec<_> = command.into_iter().map(str::to_owned).collect();
            let said = problem(&command).unwrap();
            let end = format!("write its words as separate strings: `command = {list}`");
            assert!(said.ends_with(&end), "{said}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_missing_is_named_with_the_folder() {
        let folder = std::env::current_dir().unwrap().display().to_string();
        let said = problem(&words("sh no/such.sh")).unwrap();
        let begin =
            format!("there is no file `no/such.sh` in {folder}, where stearin was started: ");
        assert!(said.starts_with(&begin), "{said}");
        assert!(said.contains("whole path"), "{said}");
        let said = problem(&words("no-such-program judge.py")).unwrap();
        assert!(said.starts_with("there is no program `no-such-program` in any folder"), "{said}");
        let said = problem(&words("./no-such-program")).unwrap();
        assert!(said.ends_with(&format!("in {folder}, where stearin was started")), "{said}");
        let script = tempfile::Builder::new().suffix(".sh").tempfile().unwrap();
        let there = ["sh".to_owned(), script.path().display().to_string()];
        assert_eq!(problem(&there), None);
        assert_eq!(problem(&words("sh -c exit")), None);
    }
}
