//! Nouns that may follow a number although the gold answer has none: they count, and say nothing about
//! the number. A word outside these lists is text.

use crate::Policy;

/// In both policies: people, and what combinatorics counts.
const COUNTED: &str = "way person man woman boy girl child student";

/// In scores besides: things of word problems.
const THINGS: &str = "adult animal apple arrangement article bag ball balloon banana basket bean bee bike bird \
    block boat book bottle bowl box bracelet branch brick bus button cake calf camel can candle candy car \
    card carrot cat chair chicken choice chocolate circle class clown coin color column combination \
    computer cookie corner cow crayon cube cupcake customer diagonal digit dinosaur dish divisor dog doll \
    dot dress drink duck edge egg element employee envelope event face factor family fan fish flower \
    friend function game gift glass goat goose grape graph group guest hat heart horse house integer \
    item jar job key kid kite lamp leaf lemon lesson letter line list lollipop marble match meal member \
    message mistake monkey muffin mug nail necklace newspaper night note notebook number orange outcome \
    package page painting paper parent part passenger path patient pattern pea peach pear pen pencil \
    permutation photo photograph piece pig pizza plant plate player point polygon possibility post \
    potato present prime problem puppy puzzle question rabbit ribbon ring road robot rock root rose row \
    sandwich seat seed sequence set sheep shell ship shirt shoe side sister slice snack sock soldier \
    solution song spider sphere spoon square star step stick sticker store story subset sweet swimmer \
    table tank task teacher team term test ticket tile tire token tomato toy train tree triangle trip \
    truck turkey tv value vase vertex video visitor vote wagon wall watermelon wheel wheelbarrow window \
    word worker yard zero";

/// In scores: adjectives that leave the count what it is.
const ADJECTIVES: &str = "even odd prime whole natural real positive different distinct possible total square \
    red blue green yellow white black brown small large big little new old";

fn holds(list: &str, wanted: &str) -> bool {
    list.split_whitespace().any(|known| known == wanted)
}

/// Whether an answer may have these words, singular and in lower case, where the gold has none.
pub(super) fn may_be_added(words: &str, policy: Policy) -> bool {
    if holds(COUNTED, words) {
        return true;
    }
    let (adjectives, noun) = match words.rsplit_once(' ') {
        Some((before, noun)) => (before, noun),
        None => ("", words),
    };
    policy == Policy::Eval
        && (holds(COUNTED, noun) || holds(THINGS, noun))
        && adjectives.split_whitespace().all(|word| holds(ADJECTIVES, word))
}
