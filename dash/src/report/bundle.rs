//! The page's modules as one script: each after those that it imports, without the lines that
//! import and the word that exports.
//!
//! That is enough because of rules that the modules keep: imports are one line with names in
//! braces, nothing is renamed or exported by default, no two modules have a name in common, and
//! imports go in no circle. A module that breaks one is an error here.

use std::collections::BTreeMap;

/// Reads modules by their paths and joins them.
pub(super) struct Bundle<'a> {
    read: &'a dyn Fn(&str) -> Option<&'a str>,
    /// Modules that are joined or under way, and which of the two.
    seen: BTreeMap<String, bool>,
    /// Names at the top of a module, and the module.
    names: BTreeMap<String, String>,
    text: String,
}

impl<'a> Bundle<'a> {
    /// The module at `entry` with everything it imports.
    ///
    /// # Errors
    ///
    /// Fails on a module that is not there or breaks a rule.
    pub(super) fn of(
        entry: &str,
        read: &'a dyn Fn(&str) -> Option<&'a str>,
    ) -> Result<String, String> {
        let (seen, names, text) = Default::default();
        let mut bundle = Self { read, seen, names, text };
        bundle.add(entry)?;
        Ok(bundle.text)
    }

    fn add(&mut self, path: &str) -> Result<(), String> {
        match self.seen.insert(path.to_owned(), false) {
            Some(true) => {
                self.seen.insert(path.to_owned(), true);
                return Ok(());
            }
            Some(false) => return Err(format!("{path} imports itself by way of others")),
            None => {}
        }
        let module = (self.read)(path).ok_or_else(|| format!("{path}: there is no such module"))?;
        let mut own = String::new();
        for (at, line) in (1..).zip(module.lines()) {
            let line = self.line(path, line).map_err(|why| format!("{path}, line {at}: {why}"))?;
            if let Some(line) = line {
                own.push_str(line);
                own.push('\n');
            }
        }
        self.text.push_str(&own);
        self.seen.insert(path.to_owned(), true);
        Ok(())
    }

    /// The line as it stands in the script, if it does.
    fn line<'b>(&mut self, path: &str, line: &'b str) -> Result<Option<&'b str>, String> {
        if let Some(import) = line.strip_prefix("import ") {
            self.add(&imported(path, import)?)?;
            return Ok(None);
        }
        let kept = line.strip_prefix("export ").unwrap_or(line);
        let rest = kept.strip_prefix("async ").unwrap_or(kept);
        let declared = ["const ", "let ", "var ", "function ", "class "]
            .iter()
            .find_map(|word| rest.strip_prefix(word));
        let Some(declared) = declared else {
            let is_export = kept.len() < line.len();
            return if is_export { Err("exports no declaration".into()) } else { Ok(Some(line)) };
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
        let name = declared.split(|c| !is_part(c)).next().unwrap_or_default();
        if name.is_empty() {
            return Err("declares no name, or several".into());
        }
        match self.names.insert(name.to_owned(), path.to_owned()) {
            Some(other) => Err(format!("{name} is also in {other}")),
            None => Ok(Some(kept)),
        }
    }
}

/// The path of the module that a line of `path` imports, which is given without its first word.
fn imported(path: &str, import: &str) -> Result<String, String> {
    let parts = import.strip_suffix("\";").and_then(|rest| rest.split_once("} from \""));
    let parts = parts.and_then(|(names, from)| Some((names.strip_prefix("{ ")?, from)));
    let (names, from) = parts.ok_or("expected `import { names } from \"./module.js\";`")?;
    if names.split(',').any(|name| name.trim().contains(' ')) {
        return Err("renames what it imports".into());
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    if let Some(name) = from.strip_prefix("./") {
        return Ok(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") });
    }
    // The folders of the page have none within them.
    let name = from.strip_prefix("../").filter(|_| !folder.is_empty() && !folder.contains('/'));
    name.map(str::to_owned).ok_or_else(|| format!("expected a module of the page, got {from}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets;

    fn bundle(modules: &[(&str, &'static str)]) -> Result<String, String> {
        let read = |path: &str| modules.iter().find(|(own, _)| *own == path).map(|(_, text)| *text);
        Bundle::of(modules[0].0, &read)
    }

    #[test]
    fn a_module_comes_once_after_what_it_imports() {
        let modules = [
            (
                "main.js",
                "import { a } from \"./panels/a.js\";\nimport { b, c } from \"./b.js\";\na(b);\n",
            ),
            (
                "panels/a.js",
                "import { b } from \"../b.js\";\nexport function a() {\n  return b;\n}\n",
            ),
            ("b.js", "export const b = 1;\nconst d = 2;\nexport async function c() {}\n"),
        ];
        let expected = "const b = 1;\nconst d = 2;\nasync function c() {}\nfunction a() {\n  return \
                        b;\n}\na(b);\n";
        assert_eq!(bundle(&modules).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_joined_is_refused() {
        let b = ("b.js", "export const b = 1;\n");
        for (module, why) in [
            ("import * as all from \"./b.js\";\n", "expected `import"),
            ("import b from \"./b.js\";\n", "expected `import"),
            ("import { b as c } from \"./b.js\";\n", "renames"),
            ("import { b } from \"./c.js\";\n", "c.js: there is no such module"),
            ("import { b } from \"https://evil.test/b.js\";\n", "a module of the page"),
            ("import { b } from \"../b.js\";\n", "a module of the page"),
            ("import { b } from \"./b.js\";\nlet b = 2;\n", "b is also in b.js"),
            ("import { b } from \"./b.js\";\nclass b {}\n", "b is also in b.js"),
            ("import { a } from \"./a.js\";\n", "a.js imports itself"),
            ("export default 3;\n", "exports no declaration"),
            ("export { b };\n", "exports no declaration"),
            ("export const { b } = c;\n", "no name"),
        ] {
            let modules = [("a.js", module), b];
            let error = bundle(&modules).unwrap_err();
            assert!(error.contains(why), "{module}: {error}");
        }
    }

    #[test]
    fn the_modules_of_the_page_can_be_joined() {
        let script = Bundle::of("main.js", &assets::text).unwrap();
        let lines = || script.lines();
        assert!(!lines().any(|line| line.starts_with("import ") || line.starts_with("export ")));
        // Each of them is reached from the first, and ends the script no sooner than the page does.
        let modules = assets::modules().count();
        assert!(modules > 20, "{modules}");
        for (path, text) in assets::modules() {
            let mut body = text.lines().filter(|line| !line.starts_with("import "));
            let last = body.rfind(|line| !line.is_empty()).unwrap();
            let last = last.strip_prefix("export ").unwrap_or(last);
            assert!(lines().any(|line| line == last), "{path}");
        }
        let lower = script.to_lowercase();
        assert!(!lower.contains("</script") && !lower.contains("<!--"));
    }
}
