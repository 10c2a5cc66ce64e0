"""JSON objects of texts and whole numbers, one a line, parsed by Arrow a batch at a time. Pure.

Nearly every line is one. Arrow is handed such alone as can mean one thing only; the others are looked at one by one.
"""

from collections.abc import Sequence
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.json import ParseOptions, ReadOptions, read_json

from nocturne.core.arrays import Mask

_PAIR = r'[ \t]*"\w+"[ \t]*:[ \t]*("[^"\\\x00-\x1f]*"|0|[1-9]\d{0,17}|null)[ \t]*'
_PLAIN = rf"^[ \t]*\{{({_PAIR}(,{_PAIR})*)?\}}[ \t]*$"
"""No escapes, no control characters, no nested values, no number that could be written otherwise."""


def parse_plain_objects(
    lines: Sequence[bytes], fields: Sequence[str], numbers: Sequence[str]
) -> tuple[Mask, pa.Array, list[pa.Array]]:
    """The plain objects among lines.

    Args:
        fields: documented fields.
        numbers: those of them whose values are whole numbers.

    Returns:
        True for each line that is a plain object, the text of these, and their columns: texts, of `numbers` int64 or
        text; null where an object lacks a field. No line, if an object names a field twice or has text and numbers in
        one field.
    """
    no_texts = pa.array([], pa.string())
    nothing = np.zeros(len(lines), bool), no_texts, [no_texts for _ in fields]
    try:
        texts = pa.array(lines, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:  # a line that is no UTF-8
        return nothing
    plain = np.asarray(pc.match_substring_regex(texts, _PLAIN), dtype=bool)
    if not plain.any():
        return nothing
    content = b"\n".join(compress(lines, plain))
    for kind in (pa.int64(), pa.string()):
        try:
            columns = _read(content, {name: kind if name in numbers else pa.string() for name in fields})
            return plain, texts.filter(pa.array(plain)), columns
        except pa.ArrowInvalid:
            continue
    return nothing


def _read(content: bytes, kinds: dict[str, pa.DataType]) -> list[pa.Array]:
    options = ParseOptions(explicit_schema=pa.schema(list(kinds.items())), unexpected_field_behavior="ignore")
    whole = ReadOptions(use_threads=False, block_size=len(content) + 1)
    rows = read_json(pa.py_buffer(content), whole, options)
    if rows.num_rows != content.count(b"\n") + 1:
        raise pa.ArrowInvalid("not a row a line")
    return [rows[name].combine_chunks() for name in kinds]
