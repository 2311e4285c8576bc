"""Damage files as failing disks and incomplete copies do, and load sealed folders that contain them."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mtx.files.sealed import MANIFEST


def flip(data: bytes, draw: random.Random) -> bytes:
    """Flip one bit."""
    index = draw.randrange(len(data))
    return data[:index] + bytes([data[index] ^ 1 << draw.randrange(8)]) + data[index + 1 :]


def cut(data: bytes, draw: random.Random) -> bytes:
    """Cut off the end."""
    return data[: draw.randrange(len(data))]


def zero(data: bytes, draw: random.Random) -> bytes:
    """Replace some bytes or a block by zeros, as if they had never reached the disk."""
    begin = draw.randrange(len(data))
    end = min(begin + draw.choice([1, 100, 4096]), len(data))
    return data[:begin] + bytes(end - begin) + data[end:]


def append(data: bytes, draw: random.Random) -> bytes:
    """Append 1 to 100 random bytes."""
    return data + draw.randbytes(draw.randint(1, 100))


Damage = Callable[[bytes, random.Random], bytes]
KINDS: dict[str, Damage | None] = {
    "flipped": flip,
    "cut": cut,
    "zeroed": zero,
    "appended to": append,
    "deleted": None,
}


def damage(path: Path, kind: str, draw: random.Random) -> None:
    """Damage a file, or delete it."""
    change = KINDS[kind]
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes() or b"\0", draw))


@dataclass(frozen=True, slots=True)
class Load:
    """Result of loading a folder with one damaged file."""

    file: str
    kind: str
    error: Exception | None
    """Exception that `load` raised; None if the damage went unnoticed."""


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
            for kind in KINDS:
                for _ in range(tries):
                    damage(path, kind, draw)
                    while not _is_damaged(path, whole):
                        damage(path, kind, draw)
                    yield Load(path.name, kind, _error_of(load, copy))
                    path.write_bytes(whole)


def _is_damaged(path: Path, whole: bytes) -> bool:
    """Whether the content changed; white space at the end of a manifest doesn't count."""
    if not path.exists():
        return True
    found = path.read_bytes()
    return found.rstrip() != whole.rstrip() if path.name == MANIFEST else found != whole


def _error_of(load: Callable[[Path], object], folder: Path) -> Exception | None:
    try:
        load(folder)
    except Exception as error:
        return error
    return None
