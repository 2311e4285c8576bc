"""Arrays on the disk are read like arrays in memory, by who opened them in time, and never half."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.data.prepared.corpus import StoredArray
from mtx.data.prepared.shards import open_arrays, save_arrays

ARRAYS = {
    "bytes": np.arange(7, dtype=np.uint8),
    "none": np.zeros(0, np.uint16),
    "longs": np.arange(5, dtype=np.uint64) << 60,
    "shorts": np.arange(300, dtype=np.uint16),
}
PLACES = st.integers(-8, 8)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, StoredArray]:
    return opened(tmp_path_factory.mktemp("arrays") / "x")


def opened(path: Path) -> dict[str, StoredArray]:
    save_arrays(path, ARRAYS, {"a fact": 1})
    found = open_arrays(path)
    assert found is not None
    assert found[1] == {"a fact": 1}
    return found[0]


@pytest.mark.parametrize("name", ARRAYS)
def test_what_is_read_is_what_was_saved(stored: dict[str, StoredArray], name: str) -> None:
    assert len(stored[name]) == len(ARRAYS[name])
    assert stored[name].dtype == stored[name][:].dtype == ARRAYS[name].dtype
    assert stored[name][:].tolist() == list(stored[name]) == ARRAYS[name].tolist()


@given(st.sampled_from(sorted(ARRAYS)), PLACES, PLACES)
def test_any_place_as_in_memory(stored: dict[str, StoredArray], name: str, begin: int, end: int) -> None:
    array, expected = stored[name], ARRAYS[name]
    for neighbours in (slice(begin, end), slice(begin, None), slice(end), slice(np.int64(begin), np.int64(end))):
        assert array[neighbours].tolist() == expected[neighbours].tolist()
    if -len(expected) <= begin < len(expected):
        assert array[begin] == array[np.int64(begin)] == expected[begin]
    else:
        with pytest.raises(IndexError):
            array[begin]


def test_a_file_is_open_for_as_long_as_an_array_needs_it(tmp_path: Path) -> None:
    """Its name may be gone: where ids can't be cached they are in files without one."""
    arrays = opened(tmp_path / "x")
    for path in tmp_path.iterdir():
        path.unlink()
    descriptor = arrays["bytes"]._file.descriptor
    last = arrays.pop("shorts")
    arrays.clear()
    assert last[298:].tolist() == [298, 299]
    del last
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_file_that_has_become_shorter_gives_no_half(tmp_path: Path) -> None:
    arrays = opened(tmp_path / "x")
    path = tmp_path / "x.arrays"
    os.truncate(path, 10)
    assert arrays["bytes"][:].tolist() == ARRAYS["bytes"].tolist()
    with pytest.raises(OSError, match=f"became shorter while open: '{path}'"):
        arrays["shorts"][200:250]


def test_what_was_not_saved_whole_is_not_opened(tmp_path: Path) -> None:
    assert open_arrays(tmp_path / "x") is None
    opened(tmp_path / "x")
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path, data in whole.items():
        for damaged in (b"", data[:-1], bytes([data[0] ^ 1]) + data[1:]):
            path.write_bytes(damaged)
            assert open_arrays(tmp_path / "x") is None
        path.write_bytes(data)
    assert open_arrays(tmp_path / "x") is not None
