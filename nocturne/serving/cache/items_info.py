"""Facts that the items of a generation share, and the encoder of its model, beside the rows of the items."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa

from nocturne.kernel.encoder import Encoder, to_bytes

ABOUT = b"nocturne"
ENCODER = b"encoder"
"""Keys of the metadata of the items' schema."""


@dataclass(frozen=True)
class ItemsInfo:
    """Facts that the items of a generation share.

    Attributes:
        model_version: of the factors; empty without a model.
        spectrum: diagonal of the factors' Gram matrix; empty where listeners are encoded and not solved.
        ridge, ridge_exponent: of the model's listeners.
        neighbour_weight: of the second stage.
        candidates: items that the second stage orders.
        let_back_after_days: days after which a heard item may be listed again; 0: never.
        classes: by market, the class whose column says what may be listed there; EVERYWHERE: of all other markets.
        no_market: class of listeners without a market.
        popular: by market, numbers of the most heard items that may be listed there, of each content type; EVERYWHERE:
            among everyone.
        now_playing: weights of the scores of what comes next, as in settings.
        arm_weights: the same of the arms of experiments on what comes next, their control too, by label.
        counterparts: by label of such an arm, and by treatment, the label of the arm that its answers are compared
            with: of control every treatment, of a treatment control.
        plans: that hold for listeners, each once, as JSON.
        planned: place in plans of each listener who has one.
        on_record_since: first night whose listens the next night can still set aside; empty if it can those of all.
        set_aside: members of `Aside` of each listener who has one, the day as text.
    """

    model_version: str
    spectrum: tuple[float, ...]
    ridge: float
    ridge_exponent: float
    neighbour_weight: float
    candidates: int
    let_back_after_days: int
    classes: Mapping[str, int]
    no_market: int
    popular: Mapping[str, Sequence[int]]
    now_playing: Mapping[str, float]
    arm_weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    counterparts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    plans: Sequence[str] = ()
    planned: Mapping[str, int] = field(default_factory=dict)
    on_record_since: str = ""
    set_aside: Mapping[str, tuple[str, str, int, bool]] = field(default_factory=dict)


def with_info(items: pa.Table, info: ItemsInfo, encoder: Encoder | None = None) -> pa.Table:
    """The same table with what its items share, and the encoder of a sequence model."""
    about: dict[str | bytes, str | bytes] = {ABOUT: json.dumps(asdict(info))}
    if encoder:
        about[ENCODER] = to_bytes(encoder)
    return items.replace_schema_metadata(about)


def info_of(items: pa.Table) -> ItemsInfo:
    """Facts that the items share, as `with_info` put them there."""
    return ItemsInfo(**json.loads(items.schema.metadata[ABOUT]))
