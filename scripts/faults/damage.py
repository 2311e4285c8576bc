"""Damage to every file of a sealed folder, of every kind that disks and copies do: what comes of loading it?"""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtx.checkpoint.sealed import MANIFEST


def _flip(data: bytes, draw: random.Random) -> bytes:
    flipped = bytearray(data)
    flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def _zero(data: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(data))
    end = min(start + draw.choice([1, 100, 4096]), len(data))
    return data[:start] + bytes(end - start) + data[end:]


def _append(data: bytes, draw: random.Random) -> bytes:
    return data + draw.randbytes(draw.choice([1, 100]))


KINDS: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "flip a bit": _flip,
    "cut": _cut,
    "zero a stretch": _zero,
    "append": _append,
    "delete": lambda data, draw: None,
}


@dataclass(frozen=True, slots=True)
class Load:
    """What came of loading a folder with one damaged file."""

    file: str
    kind: str
    error: Exception | None
    """What `load` raised; None: the damage went unnoticed."""


def damaged_loads(
    folder: Path, load: Callable[[Path], object], tries: int, *, unsealed: str = "README.md", seed: int = 1
) -> Iterator[Load]:
    """Load copies of `folder`, each with one file damaged, `tries` times for each file but `unsealed` and each kind."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, folder.name)
        shutil.copytree(folder, copy)
        load(copy)
        for path in sorted(path for path in copy.iterdir() if path.name != unsealed):
            whole = path.read_bytes()
            for kind, damage in KINDS.items():
                for _ in range(tries):
                    while not _is_damage(path, whole, damaged := damage(whole, draw)):
                        pass
                    path.unlink() if damaged is None else path.write_bytes(damaged)
                    yield Load(path.name, kind, _error_of(load, copy))
                    path.write_bytes(whole)


def _is_damage(path: Path, whole: bytes, damaged: bytes | None) -> bool:
    """Whether anything is changed, by more than the white space after what a manifest says."""
    if path.name == MANIFEST and damaged is not None:
        return damaged.rstrip() != whole.rstrip()
    return damaged != whole


def _error_of(load: Callable[[Path], object], folder: Path) -> Exception | None:
    try:
        load(folder)
    except Exception as error:
        return error
    return None
