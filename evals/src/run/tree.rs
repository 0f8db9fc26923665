//! A group as a prefix tree: equal beginnings of its completions merged, with the value of each
//! branch.

use serde::{Deserialize, Serialize};

use super::{GroupEntry, Problem, Samples};
use crate::interval::wilson;

/// Characters of a node's text that are kept.
const TEXT: usize = 200;

/// A completion, as the tree needs it. Slices have a value a token.
#[derive(Debug, Clone, Copy)]
pub struct Sibling<'a> {
    /// Ids.
    pub tokens: &'a [u32],
    /// Text.
    pub text: &'a str,
    /// Byte of the text at which each token's text ends.
    pub text_end: &'a [u32],
    /// Entropy at sampling, nats.
    pub entropy: &'a [f32],
    /// Credit: token weight times advantage; NaN where nothing was learnt.
    pub credit: &'a [f32],
    /// Reward, all verifiers weighted.
    pub reward: f64,
    /// Whether the answer is correct.
    pub correct: bool,
}

/// A longest run of tokens that one set of completions shares.
#[expect(clippy::struct_excessive_bools, reason = "four answers to four questions")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// The node before it; none for the root.
    pub parent: Option<usize>,
    /// Tokens before it.
    pub from: usize,
    /// Its tokens: 0 for a completion that ends where others go on, and for the root where not even
    /// the first token is shared.
    pub len: usize,
    /// The completions, by their numbers within the group.
    pub siblings: Vec<usize>,
    /// Whether they end here.
    pub ends: bool,
    /// How many of them are correct.
    pub correct: usize,
    /// Their mean reward: the Monte-Carlo value of the state after the node.
    pub value: f64,
    /// Wilson's 95 % interval of the value; none where rewards are other than 0 and 1.
    pub interval: Option<[f64; 2]>,
    /// The value less the parent's: what the step to this node was worth, by the group itself.
    pub monte_carlo_credit: f64,
    /// Mean credit that the algorithm gave its first token; none where nothing was learnt, and
    /// without a token.
    pub credit: Option<f64>,
    /// Whether these two have opposite signs.
    pub opposed: bool,
    /// Entropy of the distribution that the next token was drawn from, nats; none where all end.
    pub entropy: Option<f32>,
    /// Whether its completions agree on that entropy to the bit, as they do where the sampler
    /// computes equal prefixes equally.
    pub entropies_agree: bool,
    /// Its text, 200 characters of it at most.
    pub text: String,
    /// Whether the text was cut.
    pub is_cut: bool,
}

/// The tree of a group, each node after its parent, the children of a node by descending value. For
/// n completions these are at most 2n - 1 nodes.
pub fn tree(siblings: &[Sibling<'_>]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut waiting = vec![(None, 0, (0..siblings.len()).collect::<Vec<_>>())];
    while let Some((parent, from, members)) = waiting.pop() {
        let len = shared(siblings, &members, from);
        let end = from + len;
        let mut parts = split(siblings, &members, end);
        let is_leaf = parts.len() <= 1;
        let before = parent.map(|parent: usize| nodes[parent].value);
        let at = nodes.len();
        nodes.push(node(siblings, members, parent, before, [from, end], is_leaf));
        if !is_leaf {
            // The last to be pushed is the next: the best comes first.
            parts.sort_by(|a, b| value(siblings, a).total_cmp(&value(siblings, b)));
            waiting.extend(parts.into_iter().map(|part| (Some(at), end, part)));
        }
    }
    nodes
}

/// How many tokens from `from` on all members have in common.
fn shared(siblings: &[Sibling<'_>], members: &[usize], from: usize) -> usize {
    let Some((first, others)) = members.split_first() else { return 0 };
    let first = &siblings[*first].tokens[from..];
    others.iter().fold(first.len(), |len, other| {
        let same = first[..len].iter().zip(&siblings[*other].tokens[from..]);
        same.take_while(|(a, b)| a == b).count()
    })
}

/// The members by their next token, those that have none together, each part in their order.
fn split(siblings: &[Sibling<'_>], members: &[usize], at: usize) -> Vec<Vec<usize>> {
    let mut parts: Vec<(Option<u32>, Vec<usize>)> = Vec::new();
    for &member in members.iter().rev() {
        let next = siblings[member].tokens.get(at).copied();
        match parts.iter_mut().find(|(token, _)| *token == next) {
            Some((_, part)) => part.insert(0, member),
            None => parts.push((next, vec![member])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

fn value(siblings: &[Sibling<'_>], members: &[usize]) -> f64 {
    members.iter().map(|&one| siblings[one].reward).sum::<f64>() / members.len().max(1) as f64
}

fn node(
    siblings: &[Sibling<'_>],
    members: Vec<usize>,
    parent: Option<usize>,
    before: Option<f64>,
    [from, end]: [usize; 2],
    ends: bool,
) -> Node {
    let own = || members.iter().map(|&one| &siblings[one]);
    let value = value(siblings, &members);
    let is_share = own().all(|one| [0.0, 1.0].contains(&one.reward));
    let monte_carlo_credit = before.map_or(0.0, |before| value - before);
    let credits = own().filter_map(|one| one.credit.get(from).filter(|_| end > from));
    let credits: Vec<f64> =
        credits.map(|&credit| f64::from(credit)).filter(|credit| credit.is_finite()).collect();
    let credit = (!credits.is_empty()).then(|| credits.iter().sum::<f64>() / credits.len() as f64);
    let entropies = own().filter_map(|one| one.entropy.get(end).copied());
    let entropy = entropies.clone().next();
    let (text, is_cut) = own().next().map(|one| text(one, from, end)).unwrap_or_default();
    Node {
        parent,
        from,
        len: end - from,
        ends,
        correct: own().filter(|one| one.correct).count(),
        value,
        interval: is_share.then(|| wilson(value, members.len()).into()),
        monte_carlo_credit,
        credit,
        opposed: parent.is_some() && credit.is_some_and(|own| own * monte_carlo_credit < 0.0),
        entropy,
        entropies_agree: entropies
            .into_iter()
            .all(|one| Some(one.to_bits()) == entropy.map(f32::to_bits)),
        text,
        is_cut,
        siblings: members,
    }
}

/// The text of a run of tokens, and whether it was cut.
fn text(sibling: &Sibling<'_>, from: usize, end: usize) -> (String, bool) {
    let byte = |token: usize| match token.checked_sub(1) {
        None => 0,
        Some(before) => sibling.text_end.get(before).map_or(0, |&byte| byte as usize),
    };
    let whole = sibling.text.get(byte(from)..byte(end)).unwrap_or_default();
    let cut: String = whole.chars().take(TEXT).collect();
    let is_cut = cut.len() < whole.len();
    (cut, is_cut)
}

impl Samples {
    /// A recorded group as a tree; reads its texts and its tokens' columns alone.
    ///
    /// # Errors
    ///
    /// Fails where [`Samples::group`] or [`Samples::tokens`] does, and where the columns do not fit
    /// the texts.
    pub fn tree(&self, entry: &GroupEntry) -> Result<Vec<Node>, Problem> {
        let group = self.group(entry)?;
        let mut file = self.tokens(entry.step)?;
        let range = |[from, to]: [u64; 2]| from as usize..to as usize;
        let (rows, completions) = (range(entry.rows), range(entry.completions));
        let Some(end) = completions.end.checked_add(1) else {
            return Err(file.damaged("the index points beyond the end of its completions"));
        };
        let starts = file.places("completion_start", completions.start..end)?;
        let advantages = file.numbers("completion_advantage", completions)?;
        let tokens = file.ids("token", rows.clone())?;
        let text_end = file.ids("text_end", rows.clone())?;
        let entropy = file.numbers("entropy", rows.clone())?;
        let mut credit = file.numbers("weight", rows.clone())?;
        let mut places = Vec::new();
        for (bounds, advantage) in starts.windows(2).zip(&advantages) {
            let place = bounds[0]
                .checked_sub(rows.start as u64)
                .zip(bounds[1].checked_sub(rows.start as u64));
            let place = place.map(|(from, to)| from as usize..to as usize);
            let Some(place) =
                place.filter(|place| place.start <= place.end && place.end <= tokens.len())
            else {
                return Err(file.damaged("the completions of the group are not within its tokens"));
            };
            credit[place.clone()].iter_mut().for_each(|weight| *weight *= advantage);
            places.push(place);
        }
        if places.len() != group.completions.len() {
            let (tokens, texts) = (places.len(), group.completions.len());
            return Err(
                file.damaged(format!("{tokens} completions have tokens, {texts} have texts"))
            );
        }
        let siblings = places.into_iter().zip(&group.completions).map(|(place, one)| Sibling {
            tokens: &tokens[place.clone()],
            text: &one.text,
            text_end: &text_end[place.clone()],
            entropy: &entropy[place.clone()],
            credit: &credit[place],
            reward: one.reward,
            correct: one.outcome == rewards::Outcome::Correct,
        });
        Ok(tree(&siblings.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Completions of single-letter tokens; entropy and credit tell the place.
    struct Group {
        texts: Vec<&'static str>,
        tokens: Vec<Vec<u32>>,
        ends: Vec<Vec<u32>>,
        entropy: Vec<Vec<f32>>,
        credit: Vec<Vec<f32>>,
    }

    impl Group {
        fn new(texts: &[&'static str], credit: &[f32]) -> Self {
            let tokens = |text: &&str| text.bytes().map(u32::from).collect::<Vec<_>>();
            let ends = |text: &&str| (1..=text.len() as u32).collect();
            let entropy = |text: &&str| (0..text.len()).map(|at| at as f32 / 8.0).collect();
            let credits = texts.iter().zip(credit).map(|(text, credit)| vec![*credit; text.len()]);
            Self {
                texts: texts.to_vec(),
                tokens: texts.iter().map(tokens).collect(),
                ends: texts.iter().map(ends).collect(),
                entropy: texts.iter().map(entropy).collect(),
                credit: credits.collect(),
            }
        }

        fn tree(&self, rewards: &[f64]) -> Vec<Node> {
            let sibling = |at: usize| Sibling {
                tokens: &self.tokens[at],
                text: self.texts[at],
                text_end: &self.ends[at],
                entropy: &self.entropy[at],
                credit: &self.credit[at],
                reward: rewards[at],
                correct: rewards[at] > 0.5,
            };
            tree(&(0..self.texts.len()).map(sibling).collect::<Vec<_>>())
        }
    }

    #[test]
    fn branches_have_the_value_of_the_completions_below_them() {
        let group = Group::new(&["abcx", "abcy", "abd", "ab"], &[1.0, -1.0, 1.0, f32::NAN]);
        let nodes = group.tree(&[1.0, 0.0, 0.0, 1.0]);
        let seen: Vec<_> = nodes
            .iter()
            .map(|node| (node.parent, node.text.as_str(), node.siblings.clone(), node.ends))
            .collect();
        let expected = [
            (None, "ab", vec![0, 1, 2, 3], false),
            (Some(0), "", vec![3], true),
            (Some(0), "c", vec![0, 1], false),
            (Some(2), "x", vec![0], true),
            (Some(2), "y", vec![1], true),
            (Some(0), "d", vec![2], true),
        ];
        assert_eq!(seen, expected);
        assert_eq!((nodes[0].value, nodes[0].correct), (0.5, 2));
        assert_eq!(nodes[0].interval, Some(wilson(0.5, 4).into()));
        // The next token after "ab" is the third.
        assert_eq!(
            (nodes[0].entropy, nodes[1].entropy, nodes[3].entropy),
            (Some(0.25), None, None)
        );
        assert_eq!((nodes[3].monte_carlo_credit, nodes[3].credit), (0.5, Some(1.0)));
        // Its completion failed, and its first token was rewarded.
        assert_eq!((nodes[5].monte_carlo_credit, nodes[5].credit), (-0.5, Some(1.0)));
        assert!(nodes[5].opposed && !nodes[3].opposed);
        assert_eq!((nodes[1].credit, nodes[1].len), (None, 0));
    }

    #[test]
    fn equal_completions_are_one_leaf_and_different_ones_have_an_empty_root() {
        let nodes = Group::new(&["ab", "ab"], &[1.0, 1.0]).tree(&[0.5, 0.25]);
        assert_eq!(nodes.len(), 1);
        assert!(nodes[0].ends && nodes[0].interval.is_none());
        assert!((nodes[0].value - 0.375).abs() < 1e-12);
        let nodes = Group::new(&["a", "b", ""], &[1.0; 3]).tree(&[0.0, 1.0, 0.0]);
        assert_eq!((nodes[0].len, nodes.len()), (0, 4));
        assert_eq!(nodes[1].text, "b");
        assert!(tree(&[]).len() == 1);
    }

    #[test]
    fn a_sampler_that_computes_equal_prefixes_differently_shows() {
        let mut group = Group::new(&["abx", "aby"], &[0.0; 2]);
        assert!(group.tree(&[0.0; 2])[0].entropies_agree);
        group.entropy[1][2] = f32::from_bits(group.entropy[1][2].to_bits() + 1);
        assert!(!group.tree(&[0.0; 2])[0].entropies_agree);
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "ä".repeat(TEXT + 1);
        let ends = [text.len() as u32];
        let sibling = Sibling {
            tokens: &[7],
            text: &text,
            text_end: &ends,
            entropy: &[0.0],
            credit: &[0.0],
            reward: 0.0,
            correct: false,
        };
        let nodes = tree(&[sibling]);
        assert_eq!((nodes[0].text.chars().count(), nodes[0].is_cut), (TEXT, true));
        // Ends that do not fit the text, of a damaged record.
        let nodes = tree(&[Sibling { text_end: &[u32::MAX], ..sibling }]);
        assert_eq!(nodes[0].text, "");
    }

    proptest! {
        #[test]
        fn every_prefix_is_in_one_node(
            all in prop::collection::vec(prop::collection::vec(0_u32..3, 0..6), 1..9),
            rewards in prop::collection::vec(0.0_f64..1.0, 9),
        ) {
            let zeros = [0.0_f32; 8];
            let siblings: Vec<_> = all
                .iter()
                .zip(&rewards)
                .map(|(tokens, &reward)| Sibling {
                    tokens,
                    text: "",
                    text_end: &[],
                    entropy: &zeros[..tokens.len()],
                    credit: &zeros[..tokens.len()],
                    reward,
                    correct: false,
                })
                .collect();
            let nodes = tree(&siblings);
            prop_assert!(nodes.len() < 2 * all.len());
            for (at, tokens) in all.iter().enumerate() {
                let path: Vec<_> = nodes.iter().filter(|node| node.siblings.contains(&at)).collect();
                prop_assert_eq!(path.iter().map(|node| node.len).sum::<usize>(), tokens.len());
                prop_assert_eq!(path.iter().filter(|node| node.ends).count(), 1);
                for node in path {
                    // By definition: those with the same tokens up to the end of the node.
                    let end = node.from + node.len;
                    let same = |other: &Vec<u32>| other.get(..end) == Some(&tokens[..end]);
                    let below = all.iter().enumerate().filter(|(_, other)| same(other));
                    let below: Vec<_> = below
                        .filter(|(_, other)| !(node.len == 0 && node.ends) || other.len() == end)
                        .map(|(other, _)| other)
                        .collect();
                    prop_assert_eq!(&node.siblings, &below);
                    let mean = below.iter().map(|&one| rewards[one]).sum::<f64>() / below.len() as f64;
                    prop_assert!((node.value - mean).abs() < 1e-12);
                }
            }
            for (at, node) in nodes.iter().enumerate() {
                prop_assert!(node.parent.is_none_or(|parent| parent < at));
                prop_assert!(at == 0 || node.parent.is_some());
            }
        }
    }
}
