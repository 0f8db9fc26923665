//! Which problems a run can use: their prompts and solutions against the recipe's limits and the
//! model's context, before the first step and in a dry run.

use anyhow::{Context as _, Result, bail};
use engine::text::Text;
use evals::{PromptStyle, Target};
use rewards::Problem;

use crate::config::{HeldOut, Recipe};
use crate::data::{NO_SOLUTION, Problems, has_all};

/// Problems that a message names.
const NAMED: usize = 10;

/// What was found while problems were measured.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LengthReport {
    /// What was dropped, for people.
    pub dropped: Vec<String>,
    /// Lengths of the training prompts that are left, in tokens.
    pub prompts: Vec<usize>,
}

/// Drops the problems that the recipe's limits leave out; `context` is the model's, in tokens.
///
/// # Errors
///
/// Fails when a prompt cannot be made, when a limit leaves no problem, when a prompt does not fit
/// the context, and, where a stage is supervised, when a problem has no solution or one that does
/// not fit the context after its prompt.
pub fn apply(
    recipe: &Recipe,
    problems: &mut Problems,
    text: &Text,
    context: usize,
) -> Result<LengthReport> {
    let mut report = LengthReport::default();
    // A token that is misspelt would hide the one that is meant.
    text.hidden_tokens(&recipe.prompt.keep_special_tokens).context("prompt")?;
    let Problems { train, held_out, stages, sets, .. } = problems;
    let room = Room { style: &recipe.prompt, text, context };
    if let Some(held_out) = held_out {
        let is_split = matches!(recipe.data.held_out, Some(HeldOut::Split { .. }));
        fit_context("data.held_out", held_out, is_split, &room, &mut report)?;
    }
    for (set, list) in recipe.eval.sets.iter().zip(sets) {
        let own = own_text(&set.prompt, recipe, text)?;
        let room = Room { style: &set.prompt, text: own.as_ref().unwrap_or(text), context };
        fit_context(&format!("eval.set `{}`", set.name), list, false, &room, &mut report)?;
    }
    let learns = recipe.any_on_shared_data(|stage| stage.learns_solutions());
    limit_list(recipe, "data.train", train, learns, &room, &mut report)?;
    has_all("data.train", train, &recipe.data.train.weights())?;
    for (index, own) in stages.iter_mut().enumerate() {
        let Some(own) = own else { continue };
        let key = format!("stage.{index}.data.train");
        let learns = recipe.stages[index].settings().learns_solutions();
        limit_list(recipe, &key, own, learns, &room, &mut report)?;
        has_all(&key, own, &recipe.train(index).weights())?;
    }
    Ok(report)
}

/// What problems have to fit.
struct Room<'a> {
    style: &'a PromptStyle,
    text: &'a Text,
    /// The model's, in tokens.
    context: usize,
}

/// Refuses held-out problems whose prompts do not fit the context. The limits of the training data
/// are not theirs: without its longest problems a set would be another one. Of a split such
/// problems are dropped, as nobody chose them.
fn fit_context(
    what: &str,
    list: &mut Vec<Problem>,
    is_split: bool,
    room: &Room<'_>,
    report: &mut LengthReport,
) -> Result<()> {
    let Room { style, text, context } = *room;
    let lengths = measured(list, &|one| Ok(style.tokens(text, one)?.len()))?;
    if is_split {
        let key = "the model's context less a token";
        let tokens = context.saturating_sub(1);
        let limit = Limit { what, one: "prompt", many: "prompts", key, tokens };
        if let Some((kept, said)) = limit.apply(list, &lengths)? {
            retain(list, &kept);
            report.dropped.push(said);
        }
    } else if let Some(long) = listed(list, &lengths, &|length| length >= context) {
        bail!(
            "{what}: prompts do not fit the model's context of {context} tokens: {long}\n\
             remove these problems from the set, or make its prompts shorter"
        );
    }
    Ok(())
}

/// Drops those of a list that the limits leave out; `learns` where solutions are learnt.
fn limit_list(
    recipe: &Recipe,
    what: &str,
    list: &mut Vec<Problem>,
    learns: bool,
    room: &Room<'_>,
    report: &mut LengthReport,
) -> Result<()> {
    let Room { style, text, context } = *room;
    let mut lengths = measured(list, &|one| Ok(style.tokens(text, one)?.len()))?;
    let limit = recipe.data.max_prompt_tokens.get();
    let key = "data.max_prompt_tokens";
    let limit = Limit { what, one: "prompt", many: "prompts", key, tokens: limit };
    if let Some((kept, said)) = limit.apply(list, &lengths)? {
        retain(list, &kept);
        retain(&mut lengths, &kept);
        report.dropped.push(said);
    }
    // A completion needs room for one token at least.
    let long = listed(list, &lengths, &|length| length >= context);
    if let Some(long) = long {
        bail!(
            "{what}: prompts do not fit the model's context of {context} tokens: {long}\n\
             set data.max_prompt_tokens below it to leave such problems out"
        );
    }
    if learns {
        limit_solutions(recipe, what, list, room, &mut lengths, &mut report.dropped)?;
    }
    report.prompts.append(&mut lengths);
    Ok(())
}

/// `text` as a style uses it that is not the recipe's own; `text` is prepared for that one.
///
/// # Errors
///
/// Fails where [`PromptStyle::prepare`] does.
pub fn own_text(style: &PromptStyle, recipe: &Recipe, text: &Text) -> Result<Option<Text>> {
    let is_own = *style != recipe.prompt;
    Ok(is_own.then(|| style.prepare(text.clone())).transpose()?)
}

/// What a supervised stage learns of a problem; `end` is the token that ends a completion.
///
/// # Errors
///
/// Fails when the problem has no solution or it cannot be encoded.
pub fn target(style: &PromptStyle, text: &Text, problem: &Problem, end: u32) -> Result<Target> {
    let Some(solution) = &problem.solution else {
        bail!("{NO_SOLUTION}");
    };
    Ok(style.target(text, problem, solution, end)?)
}

fn limit_solutions(
    recipe: &Recipe,
    what: &str,
    list: &mut Vec<Problem>,
    room: &Room<'_>,
    prompts: &mut Vec<usize>,
    dropped: &mut Vec<String>,
) -> Result<()> {
    let Room { style, text, context } = *room;
    let end = style.end(text);
    let whole = |one: &Problem| -> Result<usize> {
        let target = target(style, text, one, end)?;
        Ok(target.prompt.len() + target.completion.len())
    };
    let mut lengths = measured(list, &whole)?;
    for (length, prompt) in lengths.iter_mut().zip(&*prompts) {
        *length -= prompt;
    }
    let mut drop = |limit: &Limit<'_>, list: &mut Vec<_>, lengths: &mut [&mut Vec<usize>]| {
        let Some((kept, said)) = limit.apply(list, lengths[0])? else { return anyhow::Ok(()) };
        retain(list, &kept);
        for lengths in lengths {
            retain(lengths, &kept);
        }
        dropped.push(said);
        Ok(())
    };
    let limit = recipe.data.max_solution_tokens;
    if let Some(limit) = limit {
        let limit = Limit {
            what,
            one: "solution",
            many: "solutions",
            key: "data.max_solution_tokens",
            tokens: limit.get(),
        };
        drop(&limit, list, &mut [&mut lengths, prompts])?;
    }
    let mut whole = lengths.iter().zip(&*prompts).map(|(a, b)| a + b).collect::<Vec<_>>();
    if limit.is_some() {
        let limit = Limit {
            what,
            one: "prompt with its solution",
            many: "prompts and solutions",
            key: "the model's context",
            tokens: context,
        };
        return drop(&limit, list, &mut [&mut whole, prompts]);
    }
    if let Some(long) = listed(list, &whole, &|length| length > context) {
        bail!(
            "{what}: solutions do not fit the model's context of {context} tokens after their \
             prompts: {long}\nshorten them, or set data.max_solution_tokens (to {context}, say) to \
             drop such problems"
        );
    }
    Ok(())
}

fn measured(
    problems: &[Problem],
    length: &dyn Fn(&Problem) -> Result<usize>,
) -> Result<Vec<usize>> {
    let one =
        |problem: &Problem| length(problem).with_context(|| format!("problem {}", problem.id));
    problems.iter().map(one).collect()
}

/// A limit on a length that the recipe sets.
struct Limit<'a> {
    /// The list of problems it is set on.
    what: &'a str,
    /// What is measured, in the singular.
    one: &'static str,
    /// The same in the plural.
    many: &'static str,
    key: &'static str,
    tokens: usize,
}

impl Limit<'_> {
    /// Which problems it leaves, and what to say of the others; nothing where it leaves all.
    fn apply(
        &self,
        problems: &[Problem],
        lengths: &[usize],
    ) -> Result<Option<(Vec<bool>, String)>> {
        let Self { what, one, many, key, tokens } = *self;
        let Some(long) = listed(problems, lengths, &|length| length > tokens) else {
            return Ok(None);
        };
        let kept: Vec<_> = lengths.iter().map(|&length| length <= tokens).collect();
        let dropped = kept.iter().filter(|&&kept| !kept).count();
        if dropped == problems.len() {
            bail!(
                "{what}: every {one} is longer than {key} = {tokens}; the shortest has {} tokens",
                lengths.iter().min().copied().unwrap_or_default()
            );
        }
        let said = format!(
            "{what}: dropped {dropped} of {} problems with {many} longer than {key} = {tokens}: {long}",
            problems.len()
        );
        Ok(Some((kept, said)))
    }
}

/// The problems whose length is too long, by id and length; `None` where there is none.
fn listed(
    problems: &[Problem],
    lengths: &[usize],
    is_long: &dyn Fn(usize) -> bool,
) -> Option<String> {
    let long: Vec<_> =
        problems.iter().zip(lengths).filter(|(_, length)| is_long(**length)).collect();
    let named: Vec<_> = long
        .iter()
        .take(NAMED)
        .map(|(problem, length)| format!("{} ({length} tokens)", problem.id))
        .collect();
    let more = long.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
}

fn retain<T>(list: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    list.retain(|_| kept.next().is_some_and(|&kept| kept));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(texts: &[&str]) -> Vec<Problem> {
        let problem = |text: &&str| Problem {
            id: format!("id-{text}"),
            problem: (*text).to_owned(),
            answer: "1".into(),
            source: "test".into(),
            ..Problem::default()
        };
        texts.iter().map(problem).collect()
    }

    #[test]
    fn long_problems_are_dropped_and_named() {
        let mut list = problems(&["a", "bbbb", "cc", "ddddd"]);
        let limit = |tokens| Limit {
            what: "data.train",
            one: "prompt",
            many: "prompts",
            key: "the.key",
            tokens,
        };
        let lengths = measured(&list, &|one| Ok(one.problem.len())).unwrap();
        let (kept, said) = limit(2).apply(&list, &lengths).unwrap().unwrap();
        assert_eq!(
            said,
            "data.train: dropped 2 of 4 problems with prompts longer than the.key = 2: \
             id-bbbb (4 tokens), id-ddddd (5 tokens)"
        );
        assert_eq!(limit(5).apply(&list, &lengths).unwrap(), None);
        let error = limit(0).apply(&list, &lengths).unwrap_err().to_string();
        assert!(error.contains("the shortest has 1 tokens"), "{error}");
        retain(&mut list, &kept);
        assert_eq!(list, problems(&["a", "cc"]));
    }

    #[test]
    fn a_message_names_some_and_counts_the_rest() {
        let list = problems(&["x"; 14]);
        let said = listed(&list, &[7; 14], &|length| length > 6).unwrap();
        assert_eq!(said.matches("id-x (7 tokens)").count(), NAMED);
        assert!(said.ends_with(" and 4 more"), "{said}");
        assert_eq!(listed(&list, &[7; 14], &|length| length > 7), None);
    }
}
