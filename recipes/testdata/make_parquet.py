"""Writes the Parquet files beside it, made-up rows in the shapes that data sets have.

Made with pyarrow 26.0.1: `python3 make_parquet.py`.
"""

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq

# The columns of verl's files, such as DAPO-Math-17k.
rows = [
    {
        "data_source": "math_dapo",
        "prompt": [{"content": f"Solve it.\n\nWhat is {n} + {n}?", "role": "user"}],
        "ability": "MATH",
        "reward_model": {"ground_truth": str(2 * n), "style": "rule-lighteval"},
        "extra_info": {"index": f"row-{n}"},
    }
    for n in range(1, 4)
]
pq.write_table(pa.Table.from_pylist(rows), "verl.parquet", compression="snappy", row_group_size=2)

# OpenR1's: worked text and whole chats side by side.
rows = [
    {
        "problem": "What is 2 * 3?",
        "solution": "Twice three is six, $\\boxed{6}$.",
        "answer": "6",
        "source": "made_up",
        "uuid": "0001",
        "generations": ["<think>2 * 3</think>\\boxed{6}", "7"],
        "correctness_math_verify": [True, False],
        "messages": [
            {"content": "What is 2 * 3?", "role": "user"},
            {"content": "<think>2 * 3</think>It is $\\boxed{6}$.", "role": "assistant"},
        ],
    }
]
pq.write_table(pa.Table.from_pylist(rows), "openr1.parquet", compression="gzip")

# One column of each type.
types = {
    "problem": (pa.string(), ["a", "b"]),
    "answer": (pa.int64(), [9007199254740993, None]),
    "bool": (pa.bool_(), [True, False]),
    "i8": (pa.int8(), [-1, None]),
    "u64": (pa.uint64(), [18446744073709551615, 0]),
    "f32": (pa.float32(), [0.1, 2.5]),
    "f64": (pa.float64(), [0.1, float("nan")]),
    "date": (pa.date32(), [datetime.date(2026, 11, 29), None]),
    "decimal": (pa.decimal128(9, 2), [decimal.Decimal("1.50"), None]),
    "text": (pa.large_string(), ["ü", ""]),
    "bytes": (pa.binary(), [b"plain", b"\xff\xfe"]),
    "list": (pa.list_(pa.int32()), [[1, 2], []]),
    "struct": (pa.struct([("x", pa.struct([("y", pa.string())]))]), [{"x": {"y": "z"}}, None]),
    "map": (pa.map_(pa.string(), pa.int32()), [[("k", 1)], []]),
    "category": (pa.dictionary(pa.int32(), pa.string()), ["one", "two"]),
}
arrays = {
    name: pa.array(values, kind) if not pa.types.is_dictionary(kind) else pa.array(values).dictionary_encode()
    for name, (kind, values) in types.items()
}
pq.write_table(pa.table(arrays), "types.parquet", compression="none")

table = pa.table({"problem": ["a"], "answer": ["1"]})
pq.write_table(table, "zstd.parquet", compression="zstd")
pq.write_table(table.slice(0, 0), "empty.parquet")
