"""Tensors are loaded as they were saved; invalid safetensors files are refused with one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mtx.checkpoint.tensors import MAX_HEADER_BYTES, load_tensors, save_tensors
from mtx.errors import ExitCode, UserError


def packed(header: Any, data: bytes = bytes(24)) -> bytes:
    """A safetensors file with the JSON value, or the text, `header`."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: Any = (6,), offsets: Any = (0, 24)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_saved_tensors_are_loaded(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3, dtype=torch.uint8)}
    save_tensors(tmp_path / "file", tensors)
    loaded = load_tensors(tmp_path / "file")
    assert loaded.keys() == tensors.keys()
    assert all(loaded[name].equal(tensor) for name, tensor in tensors.items())
    (tmp_path / "file").write_bytes(packed({"w": entry()}))
    assert load_tensors(tmp_path / "file")["w"].equal(torch.zeros(6))


# The attacks that the authors of safetensors tried on it.
ATTACKS = {
    "empty": b"",
    "short": b"\x08\0\0",
    "no JSON": packed("notjson!"),
    "no object": packed([1]),
    "not UTF-8": b"\x08\0\0\0\0\0\0\0" + b'{"\xff": 1}',
    "header of 2^63 bytes": b"\xff" * 100,
    "header longer than the file": (1000).to_bytes(8, "little") + b"{}",
    "header of many bytes": packed('{"w":' + json.dumps(entry()) + " " * MAX_HEADER_BYTES + "}"),
    "deep header": packed('{"w":' + "[" * 100_000),
    "overlap": packed({"v": entry(), "w": entry(shape=[4], offsets=[8, 24])}),
    "hole": packed({"v": entry(shape=[2], offsets=[0, 8]), "w": entry(shape=[2], offsets=[16, 24])}),
    "hole at the start": packed({"w": entry(shape=[4], offsets=[8, 24])}),
    "hole at the end": packed({"w": entry(shape=[4], offsets=[0, 16])}),
    "backwards": packed({"w": entry(offsets=[24, 0])}),
    "past the end": packed({"w": entry(shape=[600], offsets=[0, 2400])}),
    "negative offsets": packed({"w": entry(offsets=[-24, 0])}),
    "more elements than bytes": packed({"w": entry(shape=[10**12])}),
    "elements beyond counting": packed({"w": entry(shape=[2**32, 2**32, 2**32])}),
    "elements that wrap around": packed({"w": entry(shape=[2**62, 4, 4])}),
    "negative shape": packed({"w": entry(shape=[-6])}),
    "no number in the shape": packed({"w": entry(shape=["6"])}),
    "huge number": packed('{"w":{"dtype":"F32","shape":[1e999],"data_offsets":[0,24]}}'),
    "no such type": packed({"w": entry(dtype="PICKLE")}),
    "of another size": packed({"w": entry(dtype="F64")}),
    "no type": packed({"w": {"shape": [6], "data_offsets": [0, 24]}}),
    "a name twice": packed(f'{{"w":{json.dumps(entry())},"w":{json.dumps(entry(shape=[3], offsets=[0, 12]))}}}'),
    "a note that is no text": packed({"__metadata__": {"a": 1}, "w": entry()}),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
    "zip": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_invalid_files_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(ATTACKS[name])
    with pytest.raises(UserError, match="unusable: weights: ") as caught:
        load_tensors(tmp_path / "weights")
    assert caught.value.code == ExitCode.MODEL
    assert len(str(caught.value).removesuffix(str(tmp_path))) < 500


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(packed({"w": entry()}))
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(UserError, match="link: not a regular file"):
        load_tensors(tmp_path / "link")
