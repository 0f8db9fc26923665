//! The report's file: the page with its scripts, its style and its answers within it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::answers::Elements;
use super::bundle::Bundle;
use crate::assets::text;

const STYLES: [&str; 2] = ["vendor/uplot-1.6.32/uPlot.min.css", "style.css"];
const UPLOT: &str = "vendor/uplot-1.6.32/uPlot.iife.min.js";

/// The file. `notes` are sentences about what it shows and what not.
pub(super) fn page(elements: &Elements, notes: &[String]) -> String {
    let asset = |path: &str| text(path).expect("it is embedded");
    let scripts = [asset(UPLOT).to_owned(), script()];
    let styles = STYLES.map(asset);
    let mut html = String::new();
    for line in asset("index.html").lines() {
        // What the server has as files stands within; the scripts after the answers.
        if !line.contains("@ASSETS@") && line != "</body>" && line != "</html>" {
            html.push_str(line);
            html.push('\n');
        }
        if line.starts_with("<meta charset") {
            let policy = policy(&scripts, &styles);
            html.extend([
                "<meta http-equiv=\"Content-Security-Policy\" content=\"",
                &policy,
                "\">\n<meta name=\"referrer\" content=\"no-referrer\">\n",
            ]);
        }
        if line.starts_with("<title") {
            html.extend(styles.map(|style| format!("<style>{style}</style>\n")));
        }
    }
    let notes: Vec<_> = notes.iter().map(|note| format!("<p>{}</p>", escaped(note))).collect();
    html.extend(["<footer class=\"note\">", &notes.concat(), "</footer>\n"]);
    html.extend(elements.html());
    let [uplot, own] = scripts;
    html.extend(["<script>", &uplot, "</script>\n"]);
    html.extend(["<script type=\"module\">", &own, "</script>\n"]);
    html.push_str("</body>\n</html>\n");
    html
}

fn script() -> String {
    Bundle::of("main.js", &text).expect("a test joins the modules of the page")
}

/// Only these scripts and styles, and no connection.
fn policy(scripts: &[String], styles: &[&str]) -> String {
    let hash = |text: &str| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let scripts: String = scripts.iter().map(|text| hash(text)).collect();
    let styles: String = styles.iter().map(|text| hash(text)).collect();
    format!(
        "default-src 'none'; script-src{scripts}; style-src{styles}; img-src data:; base-uri 'none'; \
         form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_within_the_file_and_has_its_hash() {
        let html = page(&Elements::default(), &["a < b".to_owned()]);
        assert!(
            !html.contains("@ASSETS@") && !html.contains("src=\"/") && !html.contains("href=\"/")
        );
        assert!(html.contains("<p>a &lt; b</p>") && html.ends_with("</body>\n</html>\n"));
        let policy = html.split("content=\"").find(|part| part.starts_with("default-src")).unwrap();
        let policy = policy.split('"').next().unwrap();
        assert!(!policy.contains("connect-src") && !policy.contains("unsafe"));
        let between = |open: &str, close: &str| {
            let parts = html.split(open).skip(1);
            parts.map(|part| part.split(close).next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let scripts =
            [between("<script>", "</script>"), between("<script type=\"module\">", "</script>")];
        let styles = between("<style>", "</style>");
        assert_eq!((scripts[0].len(), scripts[1].len(), styles.len()), (1, 1, 2));
        for text in scripts.iter().flatten().chain(&styles) {
            assert!(policy.contains(&STANDARD.encode(Sha256::digest(text))));
        }
        assert_eq!(policy.matches("'sha256-").count(), 4);
        assert_eq!(html.matches("<script").count(), 2);
    }
}
