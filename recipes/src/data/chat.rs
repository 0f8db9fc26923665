//! Chats: lists of turns with a role and a content, as `OpenAI` and `ShareGPT` write them.

use rewards::rows::{Fields, brief, items};
use rewards::{Role, Turn};

/// A chat as a problem: what stands before the last question, the question, and its reply.
pub(super) struct Split {
    pub(super) history: Vec<Turn>,
    pub(super) asked: String,
    pub(super) reply: Option<String>,
}

/// The turns of a JSON list.
///
/// # Errors
///
/// Names the turn, from 1, and what is wrong with it.
pub(super) fn turns(list: &str) -> Result<Vec<Turn>, String> {
    let turn = |(at, item): (usize, &str)| {
        turn(item).map_err(|problem| format!("turn {}: {problem}", at + 1))
    };
    let turns = items(list).into_iter().enumerate().map(turn).collect::<Result<Vec<_>, _>>()?;
    let late = turns.iter().skip(1).position(|turn| turn.role == Role::System);
    match late {
        Some(at) => Err(format!("turn {}: a system turn, expected as the first only", at + 2)),
        None => Ok(turns),
    }
}

fn turn(item: &str) -> Result<Turn, String> {
    let fields = Fields::read(item.as_bytes())?;
    let either = |names: [&str; 2]| {
        let there = names.into_iter().find(|name| fields.raw(name).is_some());
        let Some(name) = there else {
            let [one, other] = names;
            return Err(format!("neither `{one}` nor `{other}` in {}", brief(item)));
        };
        fields.text(name)
    };
    let role = either(["role", "from"])?;
    let role = match role.as_str() {
        "system" => Role::System,
        "user" | "human" => Role::User,
        "assistant" | "gpt" => Role::Assistant,
        other => {
            return Err(format!(
                "role `{}`: expected system, user (human) or assistant (gpt)",
                brief(other)
            ));
        }
    };
    let content = either(["content", "value"])?;
    if content.trim().is_empty() {
        return Err(format!("the {} says nothing: expected text", role.name()));
    }
    Ok(Turn { role, content })
}

/// Takes a chat apart at its last question.
///
/// # Errors
///
/// Fails where nobody asks, and where more than one turn follows the last question.
pub(super) fn split(mut turns: Vec<Turn>) -> Result<Split, String> {
    let Some(last) = turns.iter().rposition(|turn| turn.role == Role::User) else {
        return Err("a chat without a user turn: expected one at least".into());
    };
    let mut after = turns.split_off(last + 1);
    let asked = turns.pop().expect("the last question is the last turn that is left").content;
    if after.len() > 1 {
        return Err(format!(
            "{} assistant turns follow the last user turn: expected one at most",
            after.len()
        ));
    }
    Ok(Split { history: turns, asked, reply: after.pop().map(|turn| turn.content) })
}

/// What a list of one assistant turn says.
///
/// # Errors
///
/// Fails on any other list.
pub(super) fn only_reply(turns: Vec<Turn>) -> Result<String, String> {
    let count = turns.len();
    match <[Turn; 1]>::try_from(turns) {
        Ok([Turn { role: Role::Assistant, content }]) => Ok(content),
        _ => Err(format!("expected one assistant turn as the solution, got {count} turns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = r#"[{"role":"system","content":"s"},{"role":"user","content":"a"},
        {"role":"assistant","content":"b"},{"role":"user","content":"c"},
        {"role":"assistant","content":"d"}]"#;

    #[test]
    fn a_chat_is_cut_at_its_last_question() {
        let Split { history, asked, reply } = split(turns(CHAT).unwrap()).unwrap();
        let roles: Vec<_> = history.iter().map(|turn| turn.role).collect();
        assert_eq!(roles, [Role::System, Role::User, Role::Assistant]);
        assert_eq!((asked.as_str(), reply.as_deref()), ("c", Some("d")));
        let share = r#"[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]"#;
        let Split { history, asked, reply } = split(turns(share).unwrap()).unwrap();
        assert_eq!((history.len(), asked.as_str(), reply.as_deref()), (0, "a", Some("b")));
    }

    #[test]
    fn what_is_no_chat_is_refused_by_its_turn() {
        let refused = |list: &str, words: &str| {
            let error = turns(list).and_then(|turns| split(turns).map(|_| ())).unwrap_err();
            assert!(error.contains(words), "{error}");
        };
        refused(r#"[{"role":"user","content":"a"},{"role":"tool","content":"b"}]"#, "turn 2: role");
        refused(r#"[{"role":"user","content":null}]"#, "turn 1: field `content`: expected text");
        refused(r#"[{"role":"user","content":" "}]"#, "the user says nothing");
        refused(r#"[{"who":"user"}]"#, "neither `role` nor `from`");
        refused(r#"["a"]"#, "turn 1: text, expected a JSON object");
        refused("[]", "without a user turn");
        refused(r#"[{"role":"assistant","content":"a"}]"#, "without a user turn");
        let late = r#"[{"role":"user","content":"a"},{"role":"system","content":"b"}]"#;
        refused(late, "turn 2: a system turn");
        let two = r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"},
            {"role":"assistant","content":"c"}]"#;
        refused(two, "2 assistant turns follow");
        let reply = |list: &str| turns(list).and_then(only_reply);
        assert_eq!(reply(r#"[{"role":"assistant","content":"a"}]"#).unwrap(), "a");
        assert!(reply(r#"[{"role":"user","content":"a"}]"#).is_err());
    }
}
