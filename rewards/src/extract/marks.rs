//! Marks of chat templates: those that end a turn, and those that enclose reasoning.
//!
//! A response is judged as text, so that a mark may be one that the model wrote out, in any case.

use std::iter::Peekable;
use std::str::MatchIndices;

/// What encloses the name of a mark.
const BRACKETS: [(&str, &str); 8] = [
    ("<|", "|>"),
    ("<|", ">"),
    ("<", "|>"),
    ("<\u{ff5c}", "\u{ff5c}>"),
    ("[|", "|]"),
    ("<", ">"),
    ("[", "]"),
    ("\u{25c1}", "\u{25b7}"),
];

/// The longest name of a mark, in bytes.
const MAX_NAME_BYTES: usize = 40;

/// Names that end a turn or begin another one, in any brackets.
const TURNS: [&str; 16] = [
    "/inst",
    "/s",
    "endofmessage",
    "endofsentence",
    "endoftext",
    "endofturn",
    "eoa",
    "eod",
    "eom",
    "eos",
    "eot",
    "imend",
    "imstart",
    "inst",
    "seed:eos",
    "startofturn",
];

/// The same in `[|` and `|]`, which may enclose mathematics otherwise.
const BARRED: [&str; 4] = ["assistant", "endofturn", "system", "user"];

/// Who speaks: the name of a role closes its turn as a tag, and is no content in a header.
const ROLES: [&str; 7] = ["assistant", "bot", "human", "model", "response", "system", "user"];

/// Words in the names of marks that a model writes within an answer, or around one.
const CONTENT: [&str; 20] = [
    "answer", "audio", "box", "code", "content", "fim", "image", "img", "latex", "math", "object",
    "patch", "point", "python", "quad", "quote", "ref", "solution", "video", "vision",
];

/// Names that begin a text.
const STARTS: [&str; 8] = [
    "beginofsentence",
    "beginoftext",
    "bos",
    "gmask",
    "s",
    "sop",
    "startoftext",
    "startofsentence",
];

/// Names of reasoning.
const REASONING: [&str; 15] = [
    "analysis",
    "chainofthought",
    "cot",
    "draft",
    "innermonologue",
    "rationale",
    "reason",
    "reasoning",
    "reflection",
    "scratchpad",
    "seed:think",
    "think",
    "thinking",
    "thought",
    "thoughts",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// A text begins.
    Start,
    /// A turn ends, or another one begins.
    Turn,
    /// Reasoning begins.
    Opening,
    /// Reasoning ends.
    Closing,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    meaning: Meaning,
    start: usize,
    end: usize,
}

/// What a response says before its turn ends. Marks in front of everything else end nothing.
pub(super) fn turn(response: &str) -> &str {
    let mut start = 0;
    let mut in_channel = false;
    for mark in Marks::of(response) {
        let before = response[start..mark.start].trim();
        // a header may name the role between two marks
        let in_front = before.is_empty() || start > 0 && ROLES.contains(&before);
        match mark.meaning {
            Meaning::Start | Meaning::Turn if in_front => start = mark.end,
            // between its channels, a turn in the harmony format of `gpt-oss` goes on
            Meaning::Turn if !in_channel => return &response[..mark.start],
            Meaning::Opening => in_channel |= is_channel(response, mark),
            Meaning::Closing => in_channel &= !is_channel(response, mark),
            Meaning::Start | Meaning::Turn => {}
        }
    }
    response
}

/// The part of a response that follows its reasoning: what stands after the mark that last ends
/// some, up to one that begins more. A response that never leaves its reasoning has no such part.
pub(crate) fn after_reasoning(response: &str) -> &str {
    let (mut start, mut end) = (0, None);
    for mark in Marks::of(response) {
        match mark.meaning {
            Meaning::Closing => (start, end) = (mark.end, None),
            Meaning::Opening => end = end.or(Some(mark.start)),
            Meaning::Start | Meaning::Turn => {}
        }
    }
    &response[start..end.unwrap_or(response.len())]
}

fn is_channel(response: &str, mark: Mark) -> bool {
    response[mark.start..].starts_with(CHANNEL)
}

/// What begins a channel in the harmony format of `gpt-oss`; the answer stands in the one called
/// `final`.
const CHANNEL: &str = "<|channel|>";
const MESSAGE: &str = "<|message|>";

/// What encloses the reasoning of Gemma 4.
const OPEN_CHANNEL: &str = "<|channel>";
const CLOSE_CHANNEL: &str = "<channel|>";

/// The marks of a text, in order.
struct Marks<'a> {
    text: &'a str,
    /// Where the brackets of marks open.
    places: [Peekable<MatchIndices<'a, char>>; 3],
    /// Where the last mark ends.
    end: usize,
}

impl<'a> Marks<'a> {
    fn of(text: &'a str) -> Self {
        let places = ['<', '[', '\u{25c1}'].map(|open| text.match_indices(open).peekable());
        Self { text, places, end: 0 }
    }
}

impl Iterator for Marks<'_> {
    type Item = Mark;

    fn next(&mut self) -> Option<Mark> {
        loop {
            let next = |places: &mut Peekable<MatchIndices<'_, char>>| places.peek().map(|at| at.0);
            let start = self.places.iter_mut().filter_map(next).min()?;
            for places in &mut self.places {
                let _ = places.next_if(|at| at.0 == start);
            }
            if start < self.end {
                continue;
            }
            if let Some((meaning, length)) = mark(&self.text[start..]) {
                self.end = start + length;
                return Some(Mark { meaning, start, end: start + length });
            }
        }
    }
}

/// What a mark at the start of `text` means, and its length.
fn mark(text: &str) -> Option<(Meaning, usize)> {
    // the end of a sequence in MiniMax's templates
    if text.starts_with("[e~[") {
        return Some((Meaning::Turn, 4));
    }
    if let Some(rest) = text.strip_prefix(CHANNEL) {
        let head = rest.char_indices().nth(MAX_NAME_BYTES).map_or(rest, |(end, _)| &rest[..end]);
        let message = head.find(MESSAGE).map_or(0, |at| at + MESSAGE.len());
        let is_final = rest.trim_start().starts_with("final");
        let meaning = if is_final { Meaning::Closing } else { Meaning::Opening };
        return Some((meaning, CHANNEL.len() + message));
    }
    if text.starts_with(OPEN_CHANNEL) {
        return Some((Meaning::Opening, OPEN_CHANNEL.len()));
    }
    if text.starts_with(CLOSE_CHANNEL) {
        return Some((Meaning::Closing, CLOSE_CHANNEL.len()));
    }
    BRACKETS.iter().find_map(|(left, right)| {
        let inner = text.strip_prefix(left)?;
        let in_name = |c: char| c.is_alphanumeric() || "_-\u{2581}/: ".contains(c);
        let length = inner.find(|c| !in_name(c)).filter(|&length| length <= MAX_NAME_BYTES)?;
        if !inner[length..].starts_with(right) {
            return None;
        }
        let barred = left.chars().count() > 1 || right.chars().count() > 1;
        let meaning = meaning(&inner[..length], left, barred)?;
        Some((meaning, left.len() + length + right.len()))
    })
}

fn meaning(written: &str, left: &str, barred: bool) -> Option<Meaning> {
    let name = written.replace(['_', '-', '\u{2581}', ' '], "").to_lowercase();
    if let Some(meaning) = reasoning(&name, barred) {
        return Some(meaning);
    }
    // `eot_id` and `EOS_TOKEN`
    let known = name.strip_suffix("token").unwrap_or(&name);
    let known = known.strip_suffix("id").unwrap_or(known);
    if TURNS.contains(&known) {
        return Some(Meaning::Turn);
    }
    if STARTS.contains(&known) {
        return Some(Meaning::Start);
    }
    (ends_by_shape(written, &name, left, barred)).then_some(Meaning::Turn)
}

/// Whether a name begins or ends reasoning: `think`, `/think`, `end_of_thought`, `THINK_END`.
fn reasoning(name: &str, barred: bool) -> Option<Meaning> {
    let is = |name: Option<&str>| name.is_some_and(|name| REASONING.contains(&name));
    let of = |edge: &str| {
        is(name.strip_prefix(edge).and_then(|name| name.strip_prefix("of")))
            || barred && (is(name.strip_prefix(edge)) || is(name.strip_suffix(edge)))
    };
    if REASONING.contains(&name) || of("begin") || of("start") {
        return Some(Meaning::Opening);
    }
    (is(name.strip_prefix('/')) || of("end")).then_some(Meaning::Closing)
}

/// Whether a name that is not known has the shape of a mark that ends a turn. The marks of
/// templates are too many to be listed, and whatever stands behind an unknown one is not the
/// answer.
fn ends_by_shape(written: &str, name: &str, left: &str, barred: bool) -> bool {
    let words = || written.split(['_', '-', '\u{2581}', '/', ' ']);
    if words().any(|word| CONTENT.contains(&&*word.to_lowercase())) {
        return false;
    }
    if barred && left.starts_with('<') {
        return is_name(written);
    }
    match left {
        "<" => {
            let tag = name.strip_prefix('/').is_some_and(|role| ROLES.contains(&role));
            let end = name.strip_prefix("eo").or_else(|| name.strip_prefix("endof"));
            let letters =
                |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase());
            tag || !written.contains(' ') && end.is_some_and(letters)
        }
        "[" => {
            let capitals = |c: char| c.is_ascii_uppercase() || c == '_';
            let closed = written.strip_prefix('/').filter(|name| name.len() > 1);
            closed.is_some_and(|name| name.chars().all(capitals))
        }
        _ => BARRED.contains(&name),
    }
}

/// Whether a text between bars is a name, and not a value as in `a <|x|> b`: words of letters, or
/// numbers behind such.
fn is_name(written: &str) -> bool {
    let written = written.strip_prefix('/').unwrap_or(written);
    let letters = |word: &str| word.chars().all(char::is_alphabetic);
    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
    let mut words = written.split(['_', '-', '\u{2581}']);
    words.next().is_some_and(letters)
        && words.all(|word| letters(word) || digits(word))
        && written.chars().filter(|c| c.is_alphabetic()).count() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_ends_at_the_first_mark_of_any_family() {
        for mark in [
            "<|im_end|>",
            "<|im_start|>",
            "<|endoftext|>",
            "<|end_of_text|>",
            "<|eot_id|>",
            "<|eom_id|>",
            "<|eot|>",
            "<|start_header_id|>",
            "<|header_start|>",
            "<end_of_turn>",
            "<start_of_turn>",
            "<eos>",
            "</s>",
            "[INST]",
            "[/INST]",
            "<|end|>",
            "<|user|>",
            "<|assistant|>",
            "<|return|>",
            "<\u{ff5c}end\u{2581}of\u{2581}sentence\u{ff5c}>",
            "<\u{ff5c}User\u{ff5c}>",
            "<|EOT|>",
            "<|END_OF_TURN_TOKEN|>",
            "<EOS_TOKEN>",
            "[|endofturn|]",
            "<|end_of_turn|>",
            "<seed:eos>",
            "[EOS]",
            "[e~[",
            "<|IM_END|>",
            "<end_of_utterance>",
            "<end_of_dialogue>",
            "<eop>",
            "<|role_end|>",
            "<turn|>",
            "<|turn>",
            "<|message_end|>",
            "<|endofuser|>",
            "<|CHATBOT_TOKEN|>",
            "<|im_sep|>",
            "<|tool|>",
            "<|pad|>",
            "<|reserved_special_token_7|>",
            "<\u{ff5c}tool\u{2581}calls\u{2581}begin\u{ff5c}>",
            "[/ASSISTANT]",
            "[/SYSTEM_PROMPT]",
            "</assistant>",
            "</Model>",
            "[|assistant|]",
        ] {
            assert_eq!(turn(&format!("5{mark}6{mark}7")), "5", "{mark}");
            assert_eq!(turn(&format!(" {mark} 5{mark}6")), format!(" {mark} 5"), "{mark}");
        }
    }

    #[test]
    fn what_is_no_mark_ends_nothing() {
        for text in [
            "a <b> c",
            "1 < 2 and 3 > 2",
            "x <end> y",
            "the <user> tag",
            "[end]",
            r"\[ 5 \]",
            "[1, 2]",
            "<|box|>",
            "<|begin_of_box|>5<|end_of_box|>",
            "5<|vision_end|>6",
            "5<|fim_middle|>6",
            "5<|end_of_solution|>6",
            "5[/MATH]6",
            "5[/b]6",
            "5[/B]6",
            "5</answer>6",
            "<eo>",
            "5 <end of page> 6",
            "5</models>6",
            "|x|<|y|",
            "1<|x|>0",
            "a<|b|<c",
            "|ab|<|cd|",
            "|ab|<|cd ef|>",
            "1<|2|>0",
            "1<|2x|>0",
            "<u|v>",
            "<|_|>",
            "<s>struck",
            "5 <|im_end| >6",
            "<|begin_of_solution|>5",
            "</b>",
            "<|",
            "<",
            "[",
            "\u{25c1}",
        ] {
            assert_eq!(turn(text), text);
            assert_eq!(after_reasoning(text), text);
        }
    }

    #[test]
    fn text_begins_after_its_first_marks() {
        let begun =
            "<|begin_of_text|><|start_header_id|>assistant<|end_header_id|>\n\n5<|eot_id|>6";
        assert!(turn(begun).ends_with("\n\n5"));
        assert_eq!(turn("<s>[INST]5</s>6"), "<s>[INST]5");
        assert_eq!(
            turn("<|im_start|>assistant<|im_sep|>5<|im_end|>6"),
            "<|im_start|>assistant<|im_sep|>5"
        );
        assert_eq!(turn("assistant<|im_sep|>5"), "assistant");
    }

    #[test]
    fn reasoning_ends_at_its_last_mark() {
        for (open, close) in [
            ("<think>", "</think>"),
            ("<THINK>", "</Think>"),
            ("<thinking>", "</thinking>"),
            ("<reasoning>", "</ reasoning >"),
            ("<thought>", "</thought>"),
            ("<scratchpad>", "</scratchpad>"),
            ("[THINK]", "[/THINK]"),
            ("<seed:think>", "</seed:think>"),
            ("\u{25c1}think\u{25b7}", "\u{25c1}/think\u{25b7}"),
            ("<|begin_of_thought|>", "<|end_of_thought|>"),
            ("<|START_THINKING|>", "<|END_THINKING|>"),
            ("<|begin_of_reasoning|>", "<|end_of_reasoning|>"),
            ("<|channel>thought\n", "<channel|>"),
            ("<cot>", "</COT>"),
            ("<Rationale>", "</rationale>"),
            ("<draft>", "</draft>"),
            ("<inner_monologue>", "</INNER_MONOLOGUE>"),
            (
                "<|channel|>analysis<|message|>",
                "<|end|><|start|>assistant<|channel|>final<|message|>",
            ),
        ] {
            let said = |response: &str| after_reasoning(turn(response)).to_owned();
            assert_eq!(said(&format!("{open}5{close}6")), "6", "{open}");
            // without its beginning, the end of a channel is that of the turn
            let alone = if close.starts_with("<|end|>") { "5" } else { "6" };
            assert_eq!(said(&format!("5{close}6")), alone, "{open}");
            assert_eq!(said(&format!("6{open}5")), "6", "{open}");
            assert_eq!(said(&format!("{open}5")), "", "{open}");
            assert_eq!(said(&format!("{open}5{close}6{open}7{close}")), "", "{open}");
        }
    }

    #[test]
    fn after_its_final_channel_a_turn_ends() {
        let response = "<|channel|>analysis<|message|>5<|end|><|start|>assistant\
            <|channel|>final<|message|>6<|return|><|channel|>final<|message|>7";
        assert_eq!(after_reasoning(turn(response)), "6");
    }
}
