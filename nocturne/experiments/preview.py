"""Previews: who gains and who loses by an arm's lists, before anybody hears them.

Both arms' lists of the same listeners are compared, part by part; sums of parts can be added up.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nocturne.core.arrays import Counts, Floats, Positions
from nocturne.core.errors import InputError
from nocturne.core.list_arrays import Lists, count_shared, first_places, lists_array
from nocturne.kernel.inequality import inequality

Group = tuple[str, str | None]
"""A column of the lists and a value of it, which may be null."""

EVERYONE: Group = ("all", None)
"""Group of all listeners."""

GROUPED_BY = ("market", "segment")
"""Columns of the lists, if they have them, that listeners are grouped by."""

TOP_CREATORS = 0.01
NAMED_CREATORS = 10
"""Of those that gain, and of those that lose."""


@dataclass(frozen=True)
class Differences:
    """Sums over the listeners of a group.

    Attributes:
        overlap: of each listener's two lists, the items in both divided by the length of the longer; 1 if both are
            empty.
        first_places: listeners whose lists first differ at each place; shape (top_k,).
    """

    listeners: int
    overlap: float
    first_places: Counts

    def __add__(self, other: "Differences") -> "Differences":
        return Differences(
            self.listeners + other.listeners,
            self.overlap + other.overlap,
            self.first_places + other.first_places,
        )


@dataclass(frozen=True)
class ListSums:
    """Both arms' lists, summed up.

    Attributes:
        groups: everyone, and the listeners of each market and segment.
        control, treatment: places of each item of the catalogue, in its order; shape (items,).
    """

    groups: Mapping[Group, Differences]
    control: Counts
    treatment: Counts

    def __add__(self, other: "ListSums") -> "ListSums":
        groups = dict(self.groups)
        for group, differences in other.groups.items():
            groups[group] = groups[group] + differences if group in groups else differences
        return ListSums(groups, self.control + other.control, self.treatment + other.treatment)


@dataclass(frozen=True)
class GroupDifference:
    """A group's listeners.

    Attributes:
        by, value: the column that they share, and its value; null is a value.
        differing: share whose lists differ.
        first_item: share whose lists differ from their first item on.
        overlap: mean share of a list that is in the other arm's, too.
        median_place: where half of the lists that differ have differed, from 1; None if none does.
    """

    by: str
    value: str | None
    listeners: int
    differing: float
    first_item: float
    overlap: float
    median_place: int | None


@dataclass(frozen=True)
class Change:
    """A number in both arms."""

    name: str
    control: float
    treatment: float

    @property
    def change(self) -> float:
        """Treatment minus control."""
        return self.treatment - self.control


@dataclass(frozen=True)
class Preview:
    """An arm beside control, in small tables.

    Attributes:
        groups: everyone, then markets and segments, those with most listeners first.
        content_types: share of all places; most first.
        catalogue: distinct items and creators that have a place; of the places that creators have, their Gini
            coefficient over all creators of the catalogue, and the share of the top 1 % of these. Items without a
            creator count as items only.
        gaining, losing: places of the creators with the largest changes.
    """

    groups: tuple[GroupDifference, ...]
    content_types: tuple[Change, ...]
    catalogue: tuple[Change, ...]
    gaining: tuple[Change, ...]
    losing: tuple[Change, ...]


def compare_lists(control: pa.Table, treatment: pa.Table, item_ids: pa.Array, top_k: int) -> ListSums:
    """Sums of both arms' lists, or of a part of them, cut to top_k.

    Args:
        control, treatment: user_id and items, best first, as in `ranked_lists`, of the same listeners in any order;
            those of control may have a market and a segment.
        item_ids: the catalogue's, distinct.

    Raises:
        InputError: the listeners are not the same, or an item is not in the catalogue.
    """
    user_ids = control["user_id"].combine_chunks()
    _require_same_listeners(user_ids, treatment["user_id"].combine_chunks())
    ours = _listed(control, user_ids, item_ids, top_k, "control")
    theirs = _listed(treatment, user_ids, item_ids, top_k, "treatment")
    overlaps, places = _overlaps(ours, theirs, len(item_ids)), first_places(ours, theirs)
    groups: dict[Group, Differences] = {
        EVERYONE: _summed(np.zeros(len(user_ids), np.int64), 1, overlaps, places, top_k)[0]
    }
    for by in (name for name in GROUPED_BY if name in control.column_names):
        encoded = control[by].combine_chunks().dictionary_encode(null_encoding="encode")
        values = encoded.dictionary.to_pylist()
        sums = _summed(encoded.indices.to_numpy(), len(values), overlaps, places, top_k)
        groups |= {(by, value): of_group for value, of_group in zip(values, sums, strict=True)}
    counts = [np.bincount(lists[lists >= 0], minlength=len(item_ids)) for lists in (ours, theirs)]
    return ListSums(groups, *counts)


def preview(sums: ListSums, catalogue: pa.Table) -> Preview:
    """The preview that sums come to.

    Args:
        catalogue: content_type and creator, in the order of the item ids that lists were compared with.
    """
    types, by_type = _by_name(catalogue["content_type"], sums)
    creators, by_creator = _by_name(catalogue["creator"], sums)
    shares = by_type / np.maximum(by_type.sum(axis=1, keepdims=True), 1)
    gains = by_creator[1] - by_creator[0]
    order = np.argsort(-gains, kind="stable")

    def changes(names: list[str], values: Floats | Counts, chosen: Positions) -> tuple[Change, ...]:
        return tuple(Change(names[each], *values[:, each].tolist()) for each in chosen.tolist())

    def measured(name: str, values: list[float]) -> Change:
        return Change(name, *values)

    arms = (sums.control, sums.treatment)
    return Preview(
        groups=_group_rows(sums.groups),
        content_types=changes(types, shares, np.argsort(-shares[0], kind="stable")),
        catalogue=(
            measured("distinct items", [int(np.count_nonzero(counts)) for counts in arms]),
            measured("creators with a place", [int(np.count_nonzero(counts)) for counts in by_creator]),
            measured("Gini coefficient of creators", [inequality(counts) for counts in by_creator]),
            measured("share of the top 1 % of creators", [_share_of_top(counts) for counts in by_creator]),
        ),
        gaining=changes(creators, by_creator, order[gains[order] > 0][:NAMED_CREATORS]),
        losing=changes(creators, by_creator, order[::-1][gains[order[::-1]] < 0][:NAMED_CREATORS]),
    )


def _require_same_listeners(ours: pa.Array, theirs: pa.Array) -> None:
    places = pc.index_in(ours, value_set=theirs)
    known = places.drop_null().to_numpy()
    if len(ours) != len(theirs) or len(np.unique(known)) != len(ours):
        raise InputError(
            "the arms' lists are not of the same listeners",
            found=f"{len(ours):,} of control, {len(theirs):,} of the treatment, {len(np.unique(known)):,} of both",
            expected="one list of each arm for every listener",
            fix="compare parts that were cut alike, such as the same buckets of the same night",
        )


def _listed(rows: pa.Table, user_ids: pa.Array, item_ids: pa.Array, top_k: int, arm: str) -> Lists:
    lists = lists_array(rows, user_ids, item_ids, top_k)
    lengths = np.minimum(pc.list_value_length(rows["items"].combine_chunks()).to_numpy(), top_k)
    unknown = int(lengths.sum() - (lists >= 0).sum())
    if unknown:
        raise InputError(
            "lists hold items that the catalogue has not",
            where=f"arm {arm}",
            found=f"{unknown:,} places",
            fix="give the catalogue of the night that the lists were made for",
        )
    return lists


def _overlaps(ours: Lists, theirs: Lists, items: int) -> Floats:
    """Overlap of each listener's lists."""
    overlaps = np.ones(len(ours))
    differing = np.flatnonzero((ours != theirs).any(axis=1))
    pair = ours[differing], theirs[differing]
    lengths = np.maximum(*((lists >= 0).sum(axis=1) for lists in pair))
    overlaps[differing] = count_shared(*pair, items) / lengths
    return overlaps


def _summed(group: Counts, count: int, overlaps: Floats, places: Positions, top_k: int) -> list[Differences]:
    listeners, overlap = np.bincount(group, minlength=count), np.bincount(group, overlaps, count)
    differing = places >= 0
    firsts = np.bincount(group[differing] * top_k + places[differing], minlength=count * top_k).reshape(count, top_k)
    return [Differences(int(listeners[each]), float(overlap[each]), firsts[each]) for each in range(count)]


def _by_name(column: pa.ChunkedArray, sums: ListSums) -> tuple[list[str], Counts]:
    """Names, ascending, and the places of each in both arms; shape (2, names). Nulls are left out."""
    encoded = column.combine_chunks().dictionary_encode()
    names, codes = encoded.dictionary.to_pylist(), pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy()
    places = [np.bincount(codes, counts, len(names) + 1)[:-1] for counts in (sums.control, sums.treatment)]
    order = sorted(range(len(names)), key=names.__getitem__)
    return [names[each] for each in order], np.stack(places).astype(np.int64)[:, order]


def _share_of_top(counts: Counts) -> float:
    top = -(-len(counts) // round(1 / TOP_CREATORS))
    return float(np.sort(counts)[len(counts) - top :].sum() / max(counts.sum(), 1))


def _group_rows(groups: Mapping[Group, Differences]) -> tuple[GroupDifference, ...]:
    def place(group: Group) -> tuple[int, int, str]:
        return (["all", *GROUPED_BY].index(group[0]), -groups[group].listeners, group[1] or "")

    rows = []
    for by, value in sorted(groups, key=place):
        sums = groups[by, value]
        so_far, listeners = np.cumsum(sums.first_places), max(sums.listeners, 1)
        differing = int(sums.first_places.sum())
        rows.append(
            GroupDifference(
                by=by,
                value=value,
                listeners=sums.listeners,
                differing=differing / listeners,
                first_item=int(sums.first_places[:1].sum()) / listeners,
                overlap=sums.overlap / listeners,
                median_place=int(np.argmax(2 * so_far >= differing)) + 1 if differing else None,
            )
        )
    return tuple(rows)
