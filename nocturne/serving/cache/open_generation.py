"""A generation of lists that is open for reading, whatever it is stored in."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from nocturne.core.takedowns import NONE, Takedowns
from nocturne.serving.cache.rows import ServedRow, read_row
from nocturne.serving.cache.values import Decoder, ItemsGone, ServedList

if TYPE_CHECKING:
    from nocturne.serving.cache.encoding import Encoder


class OpenGeneration(ABC):
    """One generation of a cache, open for reading.

    Attributes:
        name: the generation.
        decoder: reads its values.
    """

    def __init__(self, name: str, decoder: Decoder) -> None:
        self.name = name
        self.decoder = decoder
        self._encoder: Encoder | None = None

    def get(self, user_id: str, takedowns: Takedowns = NONE) -> ServedList | None:
        """The list of this listener; None if there is none, or the generation is not there any more.

        Args:
            takedowns: that it obeys: what is taken down is not in it, and what stands behind moves up.
        """
        value = self.read(user_id)
        if value is None:
            return None
        try:
            return self.decoder.decode(value, self.read_chunk, takedowns)
        except ItemsGone:
            return None

    def row(self, user_id: str, takedowns: Takedowns = NONE) -> ServedRow | None:
        """The list and the row of this listener, without what is taken down; None if there is none."""
        value = self.read(user_id)
        if value is None:
            return None
        row = self.as_row(value)
        if not takedowns.item_ids:
            return row
        try:
            return row.where(~self.decoder.are_among(row.numbers, takedowns.barred(row.market), self.read_chunk))
        except ItemsGone:
            return None

    def as_row(self, value: bytes) -> ServedRow:
        """The list and the row of a stored value.

        Raises:
            InputError: another release loaded the generation.
        """
        self.decoder.require_readable()
        return read_row(value, self.decoder.kinds, self.decoder.markets)

    def encoder(self) -> "Encoder":
        """Encodes rows as they were when the generation was loaded.

        Raises:
            ItemsGone: the generation is not there any more.
        """
        from nocturne.serving.cache.encoding import Encoder  # compiles loops, which readers do without

        if self._encoder is None:
            self._encoder = Encoder(self.decoder.read_info(self.read_chunk))
        return self._encoder

    @abstractmethod
    def read(self, user_id: str) -> bytes | None:
        """The stored value of one listener; None if there is none."""

    @abstractmethod
    def items_file(self) -> Path | None:
        """A local file of its items, which can be mapped; None in a generation of lists alone, or one that is gone."""

    @abstractmethod
    def read_chunk(self, number: int) -> bytes | None:
        """Item ids as `GenerationInfo.chunks` gave them, by number; None if they are not there any more."""

    @abstractmethod
    def count(self) -> int:
        """Listeners that the generation holds, counted in the store."""

    @abstractmethod
    def is_current(self) -> bool:
        """True if it is there still, and was not loaded anew since it was opened."""
