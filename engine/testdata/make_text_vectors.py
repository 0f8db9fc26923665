"""Makes text_vectors.json: token ids of synthetic vocabularies and rendered chat templates.

    python -m venv /tmp/venv && /tmp/venv/bin/pip install tokenizers transformers jinja2
    /tmp/venv/bin/python engine/testdata/make_text_vectors.py > engine/testdata/text_vectors.json

Made with tokenizers 0.23.3, transformers 5.23.0, jinja2 3.1.6. The vocabularies are trained on the
corpus below; the pipelines are those of the models' own tokenizer.json, put together by hand.
"""

import datetime
import json
import sys

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers.utils import chat_template_utils

CORPUS = [
    "The quick brown fox doesn't jump over the lazy dog; it's resting, and they've seen it before.",
    "We'll count 1 2 3 10 100 1000 12345 and 3.14159, then 2024-07-26 and 1,000,000 more.",
    "def add(a, b):\n    return a + b\n\nfor i in range(100):\n    print(f\"{i}: {add(i, i)}\")\n",
    "if (x == 10 && y != 20) {\n\treturn x->next[0];\n}\r\n",
    "Solve 12 + 345 = 357. The answer is \\boxed{357}. So 6 * 7 = 42 and 84 / 2 = 42.",
    "I'm sure that you're right, we'd say; he'll agree, won't he? I'VE SAID IT'S FINE.",
    "Größe, naïve café, l'été, señor, Ωmega, привет мир, 你好世界, こんにちは, مرحبا, हिन्दी.",
    "   leading spaces, trailing spaces   \n\n\n  and\t\ttabs \n",
    "🙂🎉 emoji and ½ fractions ² powers № signs … — “quotes”",
    "hello world hello world windows and the answer and the question, the numbers and the words",
]

TEXTS = [
    "",
    " ",
    "Hello world",
    " Hello  world   !",
    "1",
    "12345678",
    "In 2024, 3.14159 * 1000000 = 3141590; 7/26.",
    "x1y22z333 4444",
    "it's I'm you're we've they'll he'd IT'S I'M YOU'RE WE'VE don'T",
    "the window's windows",
    "def f(x):\n    if x:\n        return [x, x+1]\n\n\n    return {}\n",
    "a\tb\t\tc\r\nd\n\n\ne \n f",
    "    four spaces\n\n        eight",
    "trailing   ",
    "\n\n",
    "Größe naïve café e\u0301te\u0301 Ω привет 你好世界 こんにちは مرحبا हिन्दी",
    "٣٤٥ ½ ² Ⅷ ४२ ①",
    "🙂🎉👩‍👩‍👧 … — “quotes” №5",
    "<|im_start|>user\nWhat is 6 * 7?<|im_end|>\n<|im_start|>assistant\n",
    "no special <|im_x|> here, <tool> yes </tool>",
    "https://example.com/a_b?c=1&d=%20#e",
    "e=mc^2 \\boxed{42} $\\frac{1}{2}$",
    "!!!???... --- ___ ((()))",
    "\u00a0nbsp\u2003em\u3000ideographic",
    "\x00\x01\x7f",
]

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def split(digits):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT % digits), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def pre_tokenizer(name):
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return {
        "smollm": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level]
        ),
        "qwen2": split(""),
        "llama-bpe": split("{1,3}"),
        "gpt-2": byte_level,
    }[name]


def tokenizer(name):
    """Trains, then drops a few merges whose result stays a token: only a tokenizer that ignores
    merges for whole words finds it."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizer(name)
    trainer = trainers.BpeTrainer(
        vocab_size=480,
        min_frequency=1,
        show_progress=False,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    trained.train_from_iterator(CORPUS * 3, trainer)
    model = json.loads(trained.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(pair) for pair in model["merges"]]
    whole = {"Ġworld", "Ġand", "Ġthe", "hello"}
    merges = [pair for pair in merges if "".join(pair) not in whole]
    vocab["<tool>"] = len(vocab)
    vocab["</tool>"] = len(vocab)

    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=name == "llama-bpe"))
    made.pre_tokenizer = pre_tokenizer(name)
    if name == "qwen2":
        made.normalizer = normalizers.NFC()
    from tokenizers import AddedToken

    made.add_special_tokens(SPECIAL)
    made.add_tokens([AddedToken(t, normalized=False, special=False) for t in ("<tool>", "</tool>")])
    tokens = [token for token, _ in sorted(vocab.items(), key=lambda item: item[1])]
    return {
        "pre": name,
        "tokens": tokens,
        "merges": [" ".join(pair) for pair in merges],
        "ids": [made.encode(text, add_special_tokens=False).ids for text in TEXTS],
    }


TEMPLATES = {
    "first message": """\
{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}\
{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "blocks on their own lines": """\
{#- white space is trimmed around blocks #}
{{- bos_token }}
{%- if not date is defined %}
    {%- if strftime_now is defined %}
        {%- set date = strftime_now("%d %b %Y, %A %B %y %m 100%%") %}
    {%- else %}
        {%- set date = "unknown" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
<|system|>
    {% if tools is not none %}
tools
    {% endif %}
Today: {{ date }}

{{ system_message }}<|end|>
{% for message in messages %}
    {{ '<|' ~ message.role ~ '|>\n\n' + message.content | trim }}
    {%- if not loop.last %}

    {%- endif %}
{% endfor %}
{% if add_generation_prompt -%}
<|assistant|>
{% endif %}

""",
    "namespace, slices, methods": """\
{%- set ns = namespace(multi=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi and message.role == "user" and message.content is string and not \
(message.content.startswith('<x>') and message.content.endswith('</x>')) %}
        {%- set ns.multi = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\\n').rstrip() %}
    {{- '<|im_start|>' + message.role.upper() + ' ' + loop.index0|string + '\\n' + content }}
    {{- '<|im_end|>\\n' if loop.index0 <= ns.last else '' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "refuses a system message": """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}\
{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate') }}{% endif %}\
<start_of_turn>{{ message['role'] }}
{{ message['content'] | trim }}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}""",
    "generation tags": """\
{%- for message in messages %}
{%- if message['role'] == 'assistant' %}
    {%- generation %}
    {{- message['content'] }}
    {%- endgeneration %}
{% else %}
    {% generation %}
    [{{ message['content'] }}]
    {% endgeneration %}
{% endif %}
{%- endfor %}
done""",
    "json": """\
{{ messages | tojson }}
{{ messages[0] | tojson(indent=4) }}
{{ {"a": [1, 2.5, true, none], "b": {}, "é<&'>": "x\\"y"} | tojson }}
{{ {"z": 1, "é": 2} | tojson(ensure_ascii=true, sort_keys=true) }}""",
    "loop controls and literals": """\
{%- for i in range(10) %}{%- if i == 2 %}{% continue %}{% endif %}{%- if i > 4 %}{% break %}{% endif -%}
{{ i }},{% endfor %}
{{ true }} {{ none }} {{ 1.0 }} {{ undefined_thing }} {{ [1, 'a', none, false] }} {{ 7 // 2 }} {{ 2 ** 3 }}
{% macro say(who, what="hm") %}{{ who | capitalize }}: {{ what }}{% endmacro %}
{{ say("ann") }} {{ say("bob", what=messages[-1].content | replace("a", "A") | upper) }}
{% for key, value in messages[0].items() %}{{ key }}={{ value | length }};{% endfor %}
{{ messages | map(attribute="role") | join("+") }} {{ messages | selectattr("role", "equalto", "user") | list | length }}
{{ eos_token }}{{ unk_token is defined }}{{ messages[0].get("name", "nobody") }}{{ "x" in messages[0].content }}""",
    "a whole line feed at the end": "{{ messages[-1].content }}\n",
    "two line feeds at the end": "{{ messages[-1].content }}\n\n",
}

CASES = [
    [None, "What is 6 * 7?"],
    ["You are terse.", "  What is\n6 * 7? <b>\"é\" & 'x'</b>  "],
]

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def rendered(source, system, user):
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": user})
    compiled = chat_template_utils._compile_jinja_template(source)
    day = datetime.datetime(2024, 7, 26)
    try:
        text = compiled.render(
            messages=messages,
            tools=None,
            documents=None,
            add_generation_prompt=True,
            strftime_now=day.strftime,
            **SPECIAL_TOKENS,
        )
    except Exception as error:
        return {"error": str(error)}
    return {"text": text}


def main():
    vectors = {
        "texts": TEXTS,
        "tokenizers": [tokenizer(name) for name in ("smollm", "qwen2", "llama-bpe", "gpt-2")],
        "special": SPECIAL,
        "special_tokens": SPECIAL_TOKENS,
        "cases": CASES,
        "templates": [
            {"name": name, "source": source, "rendered": [rendered(source, *c) for c in CASES]}
            for name, source in TEMPLATES.items()
        ],
    }
    json.dump(vectors, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


main()
