//! Nouns that may follow a number although the gold answer has none: they count, and say nothing
//! about the number. A word outside these lists is text.

use crate::Strictness;

/// Under both: people, what combinatorics counts, and what a length or an age is of.
const COUNTED: &str = "way person man woman boy girl child student old tall long wide high deep";

/// In scores besides: things of word problems.
const THINGS: &str = "acorn adult airplane animal apartment apple arm arrangement article avocado baby bag \
    ball balloon banana bar basket bead bean bed bedroom bee berry bicycle bike bill \
    billboard bird biscuit blanket block blouse blueberry boat bone book bottle bowl box \
    bracelet branch brick brother brownie bucket bug bulb bus button cake calf camel camera \
    can candle candy car card carriage carrot cat chair chapter chick chicken chocolate \
    choice circle class classroom clip clown coat coconut coin color column combination \
    comic computer container cookie copy corner cousin cow cracker crayon credit cube \
    cucumber cupcake cushion customer daisy daughter device diagonal digit dime dinosaur \
    dish divisor dog doll donut dot doughnut drawing dress drink driver duck ear earring \
    edge egg element employee envelope episode eraser event eye face factor family fan \
    farmer feather female field file fish flight floor flower fly flyer friend function game \
    gift glass goat goose grandchild grape graph group guest hamburger hand hat heart hen \
    home horse hotdog house insect integer item jar jellybean job kernel key kid kite kitten \
    lamp lap lawn leaf leg lemon lemonade lesson letter line lion list lizard log lollipop \
    machine magazine male mango marble marker marshmallow match meal medal member message \
    milkshake model monkey mother mouse movie muffin mug nail napkin necklace \
    newspaper nickel night notebook number nut onion orange outcome outfit owner \
    package packet page painting pancake panda pant papaya paper parent part passenger path \
    patient pattern pea peach peanut pear pebble pen pencil penny permutation pet petal \
    phone photo photograph picture pie piece pig piglet pill pillow pizza plane plant plate \
    player point polygon post poster pot potato present pretzel problem puppy puzzle \
    rabbit raisin raspberry record rectangle ribbon ring road robin robot rock room \
    root rose round row sack salad sandwich school seashell season seat seed segment \
    semester sequence serving set shark sheep sheet shelf shell ship shirt shoe shot sibling \
    side singer sister skirt slice slide snack snake sock soldier solution son song speaker \
    sphere spider spoon square stamp star step stick sticker store story strawberry string \
    stripe subject subset suit sweater sweet swimmer table tail tank task teacher team term \
    test ticket tiger tile tire toddler token tomato tooth total toothpick towel tower toy train \
    tree triangle trip truck tulip turkey turtle tv value van vase vegetable vertex video \
    visitor vote voter wagon wall watch watermelon whale wheel wheelbarrow window word \
    worker worm yard zero";

/// In scores: adjectives that leave the count what it is.
const ADJECTIVES: &str = "even odd prime whole natural real positive different distinct possible total square \
    red blue green yellow white black brown small large big little new old";

fn holds(list: &str, wanted: &str) -> bool {
    list.split_whitespace().any(|known| known == wanted)
}

/// Whether an answer may have these words, singular and in lower case, where the gold has none.
pub(super) fn may_be_added(words: &str, strictness: Strictness) -> bool {
    if holds(COUNTED, words) {
        return true;
    }
    let (adjectives, noun) = match words.rsplit_once(' ') {
        Some((before, noun)) => (before, noun),
        None => ("", words),
    };
    strictness == Strictness::Eval
        && (holds(COUNTED, noun) || holds(THINGS, noun))
        && adjectives.split_whitespace().all(|word| holds(ADJECTIVES, word))
}
