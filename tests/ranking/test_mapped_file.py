"""Objects whose arrays are mapped: equal to what was saved, and writing to one changes no file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from nocturne.ranking import mapped_file


@dataclass
class Model:
    factors: np.ndarray
    ids: pa.Array
    name: str


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    saved = Model(np.arange(12, dtype=np.float32).reshape(4, 3), pa.array(["a", None, "c"]), "m")
    written = mapped_file.save(saved, tmp_path / "model")
    loaded = mapped_file.load(tmp_path / "model")
    assert written == (tmp_path / "model").stat().st_size
    assert loaded.factors.tolist() == saved.factors.tolist()
    assert loaded.ids.equals(saved.ids)
    assert loaded.name == "m"


def test_arrays_are_mapped_aligned_and_private(tmp_path: Path) -> None:
    mapped_file.save([np.zeros(3, np.int8), np.ones(1000)], tmp_path / "arrays")
    _, ones = mapped_file.load(tmp_path / "arrays")
    assert ones.ctypes.data % 64 == 0
    assert not ones.flags.owndata
    ones[:] = 7
    assert mapped_file.load(tmp_path / "arrays")[1].tolist() == [1.0] * 1000


def test_an_object_without_arrays_is_saved_too(tmp_path: Path) -> None:
    mapped_file.save({"empty": np.zeros(0)}, tmp_path / "empty")
    assert mapped_file.load(tmp_path / "empty")["empty"].tolist() == []
