"""The items of a generation: one file, mapped into memory, that says all a reader needs of them.

It is a file of Arrow's IPC format with one batch, a row an item in the order of the items' numbers: what people see of
an item, its factors and neighbours, its related items, and where it may be listed. Its metadata holds what items share.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from copy import copy
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from nocturne.core.arrays import Factors, Floats, Indexes, Mask
from nocturne.core.errors import InputError
from nocturne.core.takedowns import NONE, Takedowns
from nocturne.kernel.arguments import frozen
from nocturne.kernel.encoder import Encoder, from_bytes
from nocturne.kernel.layout import ItemLayout, lay_out_items
from nocturne.kernel.next_items import ContextItems, Weights
from nocturne.serving.cache.items_info import ABOUT, ENCODER, ItemsInfo
from nocturne.serving.cache.listable import EVERYWHERE, Listable
from nocturne.serving.cache.shared_property import SharedProperty
from nocturne.steering.item_fields import ItemFields
from nocturne.steering.plan import Plan

SOURCES = ("factors", "neighbours", "both", "creator", "text")
"""Of related items; a source's number is its position."""

_DESCRIPTIONS = 200_000


class ItemDescription(NamedTuple):
    """An item as people see it."""

    item_id: str
    title: str | None
    creator: str | None
    content_type: str
    duration_ms: int | None
    explicit: bool


class Related(NamedTuple):
    """Related items of one item, best first within each content type; shape (related,)."""

    numbers: Indexes
    scores: Factors
    sources: npt.NDArray[np.uint8]


class ArmWeights(NamedTuple):
    """Weights of the scores of what comes next for the listeners of an arm.

    Attributes:
        own: by which they are answered.
        others: by treatment that the arm is compared with, or that it is: the weights of the other side.
    """

    own: Weights
    others: Mapping[str, Weights]


class Aside(NamedTuple):
    """Listens of a listener that are kept out of what is learned, as table `set_aside` has it.

    Attributes:
        not_taste: what was asked for, as JSON.
        asked_on: the night that took it in.
        listens: kept out since.
        older: True if sums of listens that retention no longer had stayed in.
    """

    not_taste: str
    asked_on: date
    listens: int
    older: bool


def write_items(items: pa.Table, sink: Any) -> None:
    """Write the items to a file or a stream, in one batch."""
    with pa.ipc.new_file(sink, items.schema) as writer:
        writer.write_table(items.combine_chunks(), max_chunksize=max(1, items.num_rows))


class ServedItems:
    """The items of a generation, mapped into memory: processes that open the same file share its pages."""

    def __init__(self, path: Path) -> None:
        """Map a file that `write_items` wrote.

        Raises:
            InputError: it is none, or that of another release.
            OSError: it cannot be read.
        """
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._rows = reader.get_batch(0) if reader.num_record_batches else _no_rows(reader.schema)
            about = json.loads(reader.schema.metadata[ABOUT])
            self.info = ItemsInfo(**about)
            self._encoder = reader.schema.metadata.get(ENCODER)
        except (pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            raise InputError(
                "the items of a generation cannot be read",
                where=str(path),
                found=f"{type(error).__name__}: {error}",
                expected="what this release writes",
                fix="run refresh_cache for the night again, into an empty cache",
            ) from error
        self.describe = lru_cache(_DESCRIPTIONS)(self._describe)
        self.number = lru_cache(_DESCRIPTIONS)(self._number)
        self.shared: dict[str, Any] = {}
        self._listable = Listable(self, NONE)
        self._plans: dict[int, Plan] = {}

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def _number(self, item_id: str) -> int | None:
        """Number of an item; None if there is no such item."""
        order, sought = self._order, item_id.encode(errors="surrogatepass")
        place = bisect_left(range(len(order)), sought, key=lambda at: self._id_bytes(int(order[at])))
        if place < len(order) and self._id_bytes(int(order[place])) == sought:
            return int(order[place])
        return None

    def _id_bytes(self, number: int) -> bytes:
        """The id of an item in UTF-8, which sorts as the text does."""
        offsets, text = self._ids
        return bytes(text[offsets[number] : offsets[number + 1]])

    def _describe(self, number: int) -> ItemDescription:
        """An item as people see it."""
        return ItemDescription(*(self._rows[name][number].as_py() for name in ItemDescription._fields))

    def related(self, number: int) -> Related:
        """Related items of one item."""
        offsets = self._related_offsets
        part = slice(int(offsets[number]), int(offsets[number + 1]))
        return Related(*(values[part] for values in self._related))

    def under(self, takedowns: Takedowns) -> "ServedItems":
        """The same items under takedowns: a view of the same memory, in which fewer may be listed, or named."""
        view = copy(self)
        vars(view).update(_listable=Listable(view, takedowns))
        return view

    def may_list(self, market: str | None) -> Mask:
        """True for items that may be listed in a market; shape (items,)."""
        return self._listable.may_list(market)

    def taken_down(self, market: str | None) -> Indexes:
        """Numbers of the items that may not even be named in a market, ascending."""
        return self._listable.taken_down(market)

    def by_rules(self, market: str | None) -> Mask:
        """True for items that might be listed in a market when the generation was made; shape (items,)."""
        number = self.info.no_market if market is None else self.market_class(market)
        mask: Mask = self._rows[f"class_{number}"].to_numpy(zero_copy_only=False)
        return mask

    def plan_of(self, user_id: str) -> Plan | None:
        """The plan that holds for a listener; None without one."""
        place = self.info.planned.get(user_id)
        if place is None:
            return None
        if place not in self._plans:
            self._plans[place] = Plan.model_validate_json(self.info.plans[place])
        return self._plans[place]

    def set_aside(self, user_id: str) -> Aside | None:
        """The listens of a listener that are kept out of what is learned; None of one who did not ask for that."""
        found = self.info.set_aside.get(user_id)
        if found is None:
            return None
        not_taste, asked_on, listens, older = found
        return Aside(not_taste, date.fromisoformat(asked_on), listens, older)

    @property
    def on_record_since(self) -> date | None:
        """First night whose listens the next night can still set aside; None if it can those of all nights."""
        return date.fromisoformat(self.info.on_record_since) if self.info.on_record_since else None

    def market_class(self, market: str) -> int:
        """Number of the class of a market."""
        return self.info.classes.get(market, self.info.classes[EVERYWHERE])

    def popular(self, market: str | None) -> tuple[Indexes, str | None]:
        """The most heard items that may be listed in a market, and the market whose listeners they are; None: all."""
        return self._listable.popular(market), market if market in self.popular_by_market else None

    @SharedProperty
    def factors(self) -> Factors:
        """Shape (items, factors); zeros for items that the model lacks."""
        return self._matrix("factors")

    @SharedProperty
    def inverse_norms(self) -> Factors:
        """1 over the norm of the factors of each item; 0 for items that the model lacks; shape (items,)."""
        norms = np.sqrt(np.einsum("if,if->i", self.factors, self.factors, dtype=np.float64))
        inverse: Factors = np.divide(1, norms, out=np.zeros(len(norms)), where=norms > 0).astype(np.float32)
        return inverse

    @SharedProperty
    def in_model(self) -> Mask:
        """True for items that have factors; shape (items,)."""
        in_model: Mask = self.inverse_norms > 0
        return in_model

    @SharedProperty
    def multipliers(self) -> Floats:
        """Score multiplier of each item; shape (items,)."""
        return self._numbers("score_multiplier")

    @SharedProperty
    def confidence_weights(self) -> Floats:
        """Confidence weight of each item; 0 for items that the model lacks; shape (items,)."""
        return self._numbers("confidence_weight")

    @SharedProperty
    def neighbours(self) -> tuple[Indexes, Factors]:
        """Neighbours of each item, -1 where there are fewer, and their weights; both of shape (items, neighbours)."""
        return self._matrix("neighbours"), self._matrix("similarities")

    @SharedProperty
    def explicit(self) -> Mask:
        """True for explicit items; shape (items,)."""
        explicit: Mask = self._rows["explicit"].to_numpy(zero_copy_only=False)
        return explicit

    @SharedProperty
    def not_explicit(self) -> Mask:
        """True for items that are not explicit; shape (items,)."""
        return ~self.explicit

    @SharedProperty
    def content_types(self) -> dict[str, Mask]:
        """By content type, the mask of its items; shape (items,)."""
        encoded = self._rows["content_type"].dictionary_encode()
        codes = encoded.indices.to_numpy()
        return {name: codes == code for code, name in enumerate(encoded.dictionary.to_pylist())}

    @SharedProperty
    def popularity(self) -> Floats:
        """Popularity of each item, from 0, heard by nobody at training, to 1, by most; shape (items,).

        It is the share of the heard items that at most as many listeners have.
        """
        if "listeners" not in self._rows.schema.names:
            return np.zeros(len(self))
        counts = self.listeners
        heard = np.sort(counts[counts > 0])
        return np.searchsorted(heard, counts, side="right") / max(1, len(heard))

    @SharedProperty
    def listeners(self) -> Indexes:
        """Listeners of each item when the model was trained; 0 without a model; shape (items,)."""
        return self._numbers("listeners")

    @SharedProperty
    def fields(self) -> ItemFields:
        """The fields that rules read."""
        return ItemFields(self._rows, self.content_types, self.number, self.popularity)

    @SharedProperty
    def context_items(self) -> ContextItems:
        """The items as what comes next is scored from them."""
        arrays = frozen(self.factors, self.inverse_norms, self.multipliers, self._related_offsets, *self._related)
        return ContextItems._make([*arrays, SOURCES.index("creator")])

    @SharedProperty
    def encoder(self) -> Encoder | None:
        """Encodes what is heard, where the model is a sequence model."""
        return from_bytes(self._encoder) if self._encoder else None

    @SharedProperty
    def embeddings(self) -> Factors:
        """The items as the encoder reads them; shape (items, factors)."""
        assert self.encoder
        return self.encoder.embeddings(self.factors)

    @SharedProperty
    def weights(self) -> Weights:
        """Weights of the parts of the score of what comes next, for who is in no experiment on it."""
        return Weights(**self.info.now_playing)

    @SharedProperty
    def arms(self) -> Mapping[str, ArmWeights]:
        """Weights of the arms of experiments on what comes next, by label."""
        weights = {label: Weights(**values) for label, values in self.info.arm_weights.items()}
        return {
            label: ArmWeights(own, {name: weights[other] for name, other in self.info.counterparts[label].items()})
            for label, own in weights.items()
        }

    @SharedProperty
    def layout(self) -> ItemLayout:
        """The items laid out for exact ranking: equal scores in the order of item_id."""
        tie_order = np.empty(len(self), np.int64)
        tie_order[self._order] = np.arange(len(self))
        return lay_out_items(self.factors, self.multipliers, tie_order)

    def prepare(self) -> None:
        """Work out what the first answers would wait for: the layout, and the items of each value of a field."""
        for needed in (self.layout, self.in_model, self.fields.available):
            assert needed is not None

    @SharedProperty
    def popular_by_market(self) -> dict[str, Indexes]:
        """As `ItemsInfo.popular` has them."""
        return {market: np.array(numbers, np.int32) for market, numbers in self.info.popular.items()}

    @SharedProperty
    def _order(self) -> Indexes:
        """Numbers of the items in the order of their ids."""
        return self._numbers("order")

    @SharedProperty
    def _ids(self) -> tuple[memoryview, memoryview]:
        """Where each id begins and the last one ends, and their text."""
        ids = self._rows["item_id"]
        _, offsets, text = (memoryview(each or b"") for each in ids.buffers())
        return offsets.cast("q" if pa.types.is_large_string(ids.type) else "i"), text

    @SharedProperty
    def _related_offsets(self) -> Indexes:
        return np.asarray(self._rows["related"].offsets.to_numpy())

    @SharedProperty
    def _related(self) -> tuple[npt.NDArray[Any], ...]:
        return tuple(self._rows[name].values.to_numpy() for name in ("related", "related_scores", "related_sources"))

    def _numbers(self, name: str) -> npt.NDArray[Any]:
        return np.asarray(self._rows[name].to_numpy())

    def _matrix(self, name: str) -> npt.NDArray[Any]:
        column = self._rows[name]
        return np.asarray(column.values.to_numpy().reshape(len(self), column.type.list_size))


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
