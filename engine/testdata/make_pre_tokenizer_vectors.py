"""Makes pre_tokenizer_vectors.json: token ids of one page by every pre-tokenizer that GGUF files name.

    python -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers regex
    /tmp/venv/bin/python engine/testdata/make_pre_tokenizer_vectors.py \
        > engine/testdata/pre_tokenizer_vectors.json

Made with tokenizers 0.23.3 and regex 2026.11.19. The ids are those of Python's `tokenizers` with the
pipeline of the model's own tokenizer.json. Each pipeline is checked against a second splitter: the
expressions that llama.cpp has for the name (src/llama-vocab.cpp), run by the `regex` module one after
another. Names for which the two are known to differ are in `DIFFER`, with the reason.

There is one vocabulary. It is trained on lines that are not split into words, so that its merges go
over the borders of words, digits and lines: where a border is missed or made, other ids come out. The
program makes sure that any two pipelines give different ids.
"""

import json
import sys

import regex
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

PAGE = """\
The Quick brown fox's den isn't far: they've said "we'll go", I'M SURE, HE'S not, y'all'd've IT'S it\u017fs.
camelCase XMLHttpRequest iPhone SHOUTING_snake_case kebab-case McDonald ÉCOLE École ǅungla don’t
Numbers 1 12 123 1234 12345 1234567 3.14159 1,000,000 2024-07-26 x1y22z333 007 ٣٤٥٦ ४२०१ ½ ² Ⅷ ①② 10^3 5% $5 €7
def f(x, *args):\n\tif x >= 10 and not (x != 3):\n        return {"a": [x**2, -x], 'b': f"{x}"}\n\n\n    # done\n\t\t\nlambda:0;a==b
if(a<b){c->d;}//comment /* x */ `code` ~/path/to/file_name.txt?q=1&r=%20#top user@example.com <sentinel:12> IMGIMGABCZ
\r\nWindows line\r\nends   three  two spaces\u00a0nbsp\u2003em\u3000wide\t tab \n \n  \n    indented\n        more    
...!!!??? ---=== ((())) [x](y) «guillemets» “quotes” ‘single’ … — – • № ™ © ° ± × ÷ ≤ ∑ √ ∞ → ^~|`<=>+$
Größe naïve café señor l'été d'Artagnan œuvre straße Æther; cafe\u0301 nai\u0308ve E\u0301COLE n\u0303 a\u0301b\u0301c
Привет, мир! Ёлка 2-й Ωmega αβγ Δx ՀԱՅԵՐԵՆ ქართული עברית 12 שלום مرحبا، بالعالم ۔ फ़िल्म हिन्दी का। বাংলা ไทยภาษา ລາວ ភាសាខ្មែរ မြန်မာ
你好，世界！我在apple工作1314天。これはテストです、カタカナひらがな漢字。한국어 텍스트 ㄱㄴㄷ ㄅㄆㄇ 中文English混合 𠀀𠀁 豈更 ｆｕｌｌ　ｗｉｄｔｈ！ﾊﾝｶｸ
🙂🎉👩‍👩‍👧👍🏽🇩🇪 ✅🚀(normal) 😶‍🌫️ text🙂text 3🙂4 ❤️\u200d🔥 ﷺ \ufeffbom \u200bzero
hello world hello world HELLO World, the the the end.\n\n\nthe end.\n the end. the end 12 12 12 the 100 100 100 00 000 0000
              fourteen spaces\n                                  more\n1234\n12 345\nword\n\nword\n\n\nword\t\tword
1999/2000 3/4 and/or //x\n/y !/ word/word //\n\nEnd\r\n\r\nEnd a1b2c3 A1B2 1a 2b 99bottles x² y₃ ٪ 50% of 3.5kg, 1e-5 0x1F 1_000
12  12   123    12     1234
Ankara'dan Bursa'dan 'tis 'tis 'til 'til we'rent we'rent O'Metal O'Metal
{
};
{
};
[
];
a/b/
/
a/b/
/
1/
1/
x\r\n\r\ny\r\n\r\nz
"""

SPECIAL = ["<|endoftext|>", "<|im_end|>"]
WHOLE = {"Ġworld", "Ġthe", "hello", "Ġspaces", "Ġword"}

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
BLANKS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = (
    CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BLANKS
)
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BLANKS
QWEN35 = (
    CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    + BLANKS
)
MINICPM5 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*" + BLANKS
SEED = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+" + BLANKS
UFAKZEKA = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + BLANKS
JAIS2 = (
    CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    + "".join(r"|\s{%d}(?!\S)" % n for n in (512, 256, 128, 64, 32, 16, 8, 4))
    + r"|\s{1,2}(?!\S)|\s{1}"
)
BAILING = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
EXAONE_MOE = (
    CONTRACTIONS
    + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
    + r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def cased(after, digits, marks=r"| ?[^\s\p{L}\p{N}]+[\r\n/]*", han=""):
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{han}]*[{LOWER}{han}]+{after}"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{UPPER}{han}]+[{LOWER}{han}]*{after}|{digits}{marks}{BLANKS}"
    )


TEKKEN = cased("", r"\p{N}")
GPT_4O = cased(CONTRACTIONS + "?", r"\p{N}{1,3}")
YOUTU = cased(CONTRACTIONS + "?", r"\p{N}")
KIMI = r"[\p{Han}]+|" + cased(
    CONTRACTIONS + "?", r"\p{N}{1,3}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*", r"&&[^\p{Han}]"
)
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
ASCII_MARKS = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""
DEEPSEEK = (
    ASCII_MARKS
    + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    + BLANKS
)
SPARK = (
    ASCII_MARKS
    + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+"
)
KANA = "[一-龥\u3040-\u309f\u30a0-\u30ff]+"
CJK = "[一-龥\u0800-一가-\ud7ff]+"
CASED_RANGES = """
41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376 377 37b-37d 37f 386 388-38a 38c
38e-3a1 3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b
1d6b-1d77 1d79-1d9a 1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d
1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102
2107 210a-2113 2115 2119-211d 2124 2126 2128 212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183
2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2 2cf3 a640-a66d a680-a69b a722-a76f a771-a787 a78b-a78e
ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2
10cc0-10cf2 118a0-118df 1e900-1e943"""
CASED = "".join(
    "-".join(chr(int(end, 16)) for end in part.split("-")) for part in CASED_RANGES.split()
)
DEEPSEEK_LLM_MARKS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
ASIAN = (
    "[一-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    "\u0e40-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1780-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af"
    "\u1100-\u11ff]+"
).replace("\u1780-\u109f", "\u1000-\u109f")

split = lambda expression: ("Split", expression)
digit, numbers, words, bytes_ = ("Digits", True), ("Digits", False), ("Words", False), ("Bytes",)


def pipelines():
    """Names, steps, whether characters are composed, whether words are taken whole."""
    one = lambda names, expression, **flags: (names, [split(expression), bytes_], flags)
    whole, compose = {"whole": True}, {"compose": True}
    return [
        (
            "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe "
            "a.x-4.0 mellum jais trillion granite-docling exaone4",
            [words],
            {},
        ),
        ("mpt olmo modern-bert", [words], compose),
        ("starcoder refact codeshell exaone mellum2 smollm", [digit, words], {}),
        ("command-r", [digit, words], compose),
        ("minerva-7b", [("Words", True)], {}),
        ("falcon", [("Punctuation", "contiguous"), words, numbers, split("[0-9][0-9][0-9]")], {}),
        ("falcon3", [("Punctuation", "contiguous"), words, digit], whole),
        one("llama3 llama-v3 llama-bpe falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", LLAMA3, **whole),
        one("dbrx smaug-bpe glm4 chatglm-bpe", LLAMA3),
        one("qwen2 deepseek-r1-qwen f2llmv2 stablelm2", QWEN2, **compose),
        one("megrez kormo hunyuan solar-open grok-2 bailingmoe bailingmoe2 llada-moe", QWEN2),
        one("qwen35", QWEN35, **compose),
        one("ufakzeka", UFAKZEKA),
        one("seed-coder", SEED),
        one("jais-2", JAIS2),
        one("exaone-moe", EXAONE_MOE),
        one("tekken", TEKKEN, **whole),
        one("gpt-4o llama4 kanana2 talkie minimax-m2 gigachat", GPT_4O),
        one("granite-embed-multi-97m", GPT_4O, **whole),
        one("kimi-k2", KIMI),
        one("bloom gpt3-finnish poro-chat", BLOOM),
        (
            "default",
            [
                split(r"[\p{P}\$\+<=>\^~\|]+"),
                split(GPT2),
                split(r"\p{N}+"),
                split("[0-9][0-9][0-9]"),
                bytes_,
            ],
            {},
        ),
        (
            "deepseek-llm",
            [
                split("[\r\n]"),
                split("\\s?[" + CASED + "]+"),
                split(DEEPSEEK_LLM_MARKS),
                split("\\s+$"),
                split(CJK),
                digit,
                bytes_,
            ],
            {},
        ),
        (
            "deepseek-coder",
            [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CJK), digit, bytes_],
            {},
        ),
        (
            "deepseek-v3 hunyuan-dense joyai-llm hy_v4",
            [split(r"\p{N}{1,3}"), split(KANA), split(DEEPSEEK), bytes_],
            {},
        ),
        ("spark2_5", [split(r"\p{N}{1,3}"), split(KANA), split(SPARK), digit, bytes_], {}),
        (
            "youtu",
            [
                split(
                    "[가-힣\u3131-\u318e]+|[！…“”‘’—：；，\u3001-\u303f\ufe30-\ufe4f]+"
                    "|[\u3105-\u312f]+|" + KANA
                ),
                split(YOUTU),
                bytes_,
            ],
            whole,
        ),
        ("viking", [split(BLOOM), digit, bytes_], {}),
        ("laguna", [split("[^\\n]+|[\\n]+"), split(QWEN2), bytes_], {}),
        ("minicpm5", [split(r"\p{N}{1,3}"), split(MINICPM5), bytes_], whole),
        ("superbpe", [numbers, split(r"(?=(\d{3})+(?!\d))"), bytes_], {}),
        ("tiny_aya cohere2moe", [split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(GPT_4O), bytes_], {}),
        (
            "afmoe",
            [
                numbers,
                split(r"\p{N}{1,3}(?=(?:\p{N}{3})*$)"),
                split(ASIAN),
                split(DEEPSEEK),
                bytes_,
            ],
            {},
        ),
        (
            "chameleon",
            [
                split("<sentinel:[0-9]+>"),
                split("(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z"),
                split(r"([\t\n]|    |  )"),
                digit,
                ("Punctuation", "isolated"),
                words,
            ],
            {},
        ),
    ]


# What llama.cpp has for a name, where it is not the steps above.
LLAMA_CPP = {
    "deepseek-llm": {5: [r"\p{N}+"]},
    "falcon": {0: [r"[\p{P}\$\+<=>\^~\|`]+"]},
    "falcon3": [LLAMA3],
    "gigachat": [GPT2],
    "minerva-7b": [r"\p{N}", GPT2],
    # Written otherwise, but the same words.
    **dict.fromkeys(["bailingmoe", "bailingmoe2", "llada-moe"], [BAILING]),
}
DIFFER = {
    "deepseek-llm": "the model's tokenizer.json has every digit by itself",
    "falcon": "splits digits after bytes are written as characters, of which some count as digits",
    "falcon3": "the model's tokenizer.json has steps of its own",
    "gigachat": "the model's tokenizer.json has the expression of GPT-4o",
    "minerva-7b": "the model's tokenizer.json puts a space in front, and leaves digits together",
}


def pre_tokenizer(steps):
    def build(step):
        match step:
            case ("Split", expression):
                return pre_tokenizers.Split(Regex(expression), behavior="isolated", invert=False)
            case ("Digits", individual):
                return pre_tokenizers.Digits(individual_digits=individual)
            case ("Punctuation", behavior):
                return pre_tokenizers.Punctuation(behavior=behavior)
            case ("Words", space):
                return pre_tokenizers.ByteLevel(add_prefix_space=space, use_regex=True)
            case ("Bytes",):
                return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)

    return pre_tokenizers.Sequence([build(step) for step in steps])


def expressions(name, steps):
    """The expressions that llama.cpp runs one after another for a name."""
    own = {
        ("Digits", True): [r"\p{N}"],
        ("Digits", False): [r"\p{N}+"],
        ("Punctuation", "contiguous"): [r"[\p{P}!-/:-@\[-`{-~]+"],
        ("Punctuation", "isolated"): [r"[\p{P}!-/:-@\[-`{-~]"],
        ("Words", False): [GPT2],
        ("Words", True): [GPT2],
        ("Bytes",): [],
    }
    other = LLAMA_CPP.get(name, {})
    if isinstance(other, list):
        return other
    lists = [
        other.get(i) or ([step[1]] if step[0] == "Split" else own[step])
        for i, step in enumerate(steps)
    ]
    return sum(lists, [])


def pieces(text, expressions):
    """Splits a text by the `regex` module."""
    parts = [text]
    for expression in expressions:
        compiled = regex.compile(expression, regex.V1)
        next_parts = []
        for part in parts:
            at = 0
            for match in compiled.finditer(part):
                next_parts += [part[at : match.start()], match.group()]
                at = match.end()
            next_parts.append(part[at:])
        parts = [part for part in next_parts if part]
    return parts


def vocabulary():
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1100,
        min_frequency=2,
        show_progress=False,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    # Whole, so that merges go over line ends; composed as well, for the pipelines that compose.
    composed = normalizers.NFC().normalize_str(PAGE)
    trained.train_from_iterator([PAGE, composed, *PAGE.split("\n")], trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"] if "".join(pair) not in WHOLE]
    vocab = model["vocab"]
    # Twelve spaces: no step of two, four, eight.
    merges.append(("Ġ" * 8, "Ġ" * 4))
    vocab["Ġ" * 12] = len(vocab)
    for word in sorted(WHOLE):
        vocab.setdefault(word, len(vocab))
    return vocab, merges


def main():
    vocab, merges = vocabulary()
    made = []
    for names, steps, flags in pipelines():
        tokenizer = Tokenizer(
            models.BPE(vocab=vocab, merges=merges, ignore_merges=flags.get("whole", False))
        )
        text = PAGE
        if flags.get("compose"):
            tokenizer.normalizer = normalizers.NFC()
            text = normalizers.NFC().normalize_str(PAGE)
        tokenizer.pre_tokenizer = pre_tokenizer(steps)
        tokenizer.add_special_tokens(SPECIAL)
        ends = [end for _, (_, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        for name in names.split():
            parts = pieces(text, expressions(name, steps))
            at, second = 0, []
            for part in parts:
                at += len(part)
                second.append(at)
            if (ends == second) == (name in DIFFER):
                first = next(iter(sorted(set(ends) ^ set(second))), None)
                around = text[max(0, first - 20) : first + 20] if first else ""
                sys.exit(f"{name}: the splitters {'agree' if ends == second else 'differ'}: {around!r}")
        made.append({"names": names.split(), "ids": tokenizer.encode(PAGE).ids})
    for i, one in enumerate(made):
        for other in made[:i]:
            if one["ids"] == other["ids"]:
                sys.exit(f"the page does not tell {one['names'][0]} from {other['names'][0]}")
    tokens = [token for token, _ in sorted(vocab.items(), key=lambda item: item[1])]
    vectors = {
        "page": PAGE,
        "tokens": tokens,
        "merges": [" ".join(pair) for pair in merges],
        "special": SPECIAL,
        "pipelines": made,
    }
    json.dump(vectors, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


main()
