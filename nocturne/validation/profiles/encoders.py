"""Profile of `encoders`, and a listener's vector worked out anew: place by place, in float64, by code of its own.

Sources: docs/sequence.md for the network; self-attention: Kang and McAuley (2018), section III.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Floats, Positions
from nocturne.core.night import Night
from nocturne.storage import tables
from nocturne.storage.model_transitions import ModelRecord
from nocturne.validation.profiles.arithmetic import Profile, share
from nocturne.validation.profiles.models import live_models

_SQUARE = ("query", "key", "value", "mix", "attend/gate", "feed/up", "feed/down", "feed/gate")


def encoders(night: Night) -> Profile:
    """Of the encoder of the live model, if it is a sequence model."""
    rows, live = tables.night_rows(night, "encoders"), live_models(night)
    expected, spread = {}, None
    if live and live[0].family != "als":
        expected = _shapes(json.loads(live[0].settings)["sequence"])
        spread = _spread(tables.night_rows(night, "item_factors", ["factors"])["factors"].combine_chunks())
    stored = {row["name"]: row for row in rows.to_pylist()}
    fitting = [name for name, shape in expected.items() if name in stored and _has_shape(stored[name], shape)]
    numbers = rows["numbers"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    turned = None
    if "axes" in fitting:
        axes = _array(stored["axes"])
        turned = float(np.nan_to_num(np.abs(axes.T @ axes - np.eye(len(axes))), nan=np.inf).max())
    return {
        "unlike_recipe": len(expected.keys() | stored.keys()) - len(fitting) + rows.num_rows - len(stored),
        "not_finite": int((~np.isfinite(numbers)).sum()),
        "axes_not_orthogonal": turned,
        "spread": spread,
    }


def _shapes(recipe: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    width = recipe["width"]
    shapes: dict[str, tuple[int, ...]] = {"axes": (width, width), "end/scale": (width,)}
    for block in range(recipe["blocks"]):
        shapes |= {f"{block}/{name}": (width, width) for name in _SQUARE}
        shapes |= {f"{block}/attend/scale": (width,), f"{block}/feed/scale": (width,)}
        shapes[f"{block}/distance"] = (recipe["heads"], recipe["length"])
    return shapes


def _has_shape(row: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    return tuple(row["shape"]) == shape and len(row["numbers"]) == math.prod(shape)


def _array(row: Mapping[str, Any]) -> Floats:
    return np.array(row["numbers"], np.float64).reshape(row["shape"])


def _spread(factors: pa.ListArray) -> float | None:
    """Root mean square distance of factors from their mean, as a share of their norm; None of fewer than two items."""
    lengths = pc.list_value_length(factors).to_numpy(zero_copy_only=False)
    if len(factors) < 2 or (lengths != lengths[0]).any():
        return None
    vectors = factors.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(factors), -1)
    return share(float(np.linalg.norm(vectors - vectors.mean(axis=0))), float(np.linalg.norm(vectors)))


@dataclass(frozen=True)
class DenseEncoder:
    """The network of a sequence model.

    Attributes:
        recipe: of the network.
        arrays: of `encoders`, by name.
    """

    recipe: Mapping[str, Any]
    arrays: Mapping[str, Floats]

    @classmethod
    def of(cls, night: Night, model: ModelRecord) -> "DenseEncoder | None":
        """The encoder of a model; None if it has none."""
        settings = json.loads(model.settings)
        if settings["family"] == "als":
            return None
        rows = tables.rows(night.warehouse, "encoders", pc.field("model_version") == model.version)
        return cls(settings["sequence"], {row["name"]: _array(row) for row in rows.to_pylist()})

    def vector(self, factors: Floats, recent: Sequence[int] | Positions) -> Floats:
        """A listener's vector, on the axes of the factors; zeros if nothing was heard.

        Args:
            factors: of items, the network's last; shape (items, width or more).
            recent: places of the items heard, oldest first.
        """
        width, heads = self.recipe["width"], self.recipe["heads"]
        heard = list(recent)[-self.recipe["length"] :]
        if not heard:
            return np.zeros(width)
        hidden = factors[heard, -width:] @ self.arrays["axes"].T * math.sqrt(width)
        part = width // heads
        for block in range(self.recipe["blocks"]):
            name = f"{block}/"
            inner = _scaled(hidden, self.arrays[name + "attend/scale"])
            query, key, value = (inner @ self.arrays[name + each] for each in ("query", "key", "value"))
            mixed = np.zeros_like(hidden)
            for place in range(len(heard)):
                for head in range(heads):
                    of_head = slice(head * part, (head + 1) * part)
                    bias = self.arrays[name + "distance"][head, place - np.arange(place + 1)]
                    scores = key[: place + 1, of_head] @ query[place, of_head] / math.sqrt(part) + bias
                    weights = np.exp(scores - scores.max())
                    mixed[place, of_head] = weights / weights.sum() @ value[: place + 1, of_head]
            let_through = _share_let_through(inner @ self.arrays[name + "attend/gate"])
            hidden = hidden + mixed @ self.arrays[name + "mix"] * let_through
            inner = _scaled(hidden, self.arrays[name + "feed/scale"])
            up = inner @ self.arrays[name + "feed/up"]
            fed = up * _share_let_through(up) @ self.arrays[name + "feed/down"]
            hidden = hidden + fed * _share_let_through(inner @ self.arrays[name + "feed/gate"])
        vector: Floats = _scaled(hidden[-1], self.arrays["end/scale"]) @ self.arrays["axes"]
        return vector


def _scaled(values: Floats, scale: Floats) -> Floats:
    return np.asarray(values / np.sqrt((values**2).mean(axis=-1, keepdims=True) + 1e-6) * scale)


def _share_let_through(values: Floats) -> Floats:
    return 1 / (1 + np.exp(-values))
