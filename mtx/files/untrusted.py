"""Files from strangers, read with care: no links, pipes or devices, and never more bytes than expected."""

import os
import stat
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)


class UnknownKeyError(ValueError):
    """A key that this version of mtx does not know."""


def read_small_file(path: Path, max_bytes: int) -> bytes:
    """Read a regular file completely.

    Raises:
        ValueError: it is not a regular file, or larger than `max_bytes`.
        OSError: it can't be read, or does not exist.
    """
    check_regular(path)
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"larger than {max_bytes:,} bytes")
    return data


def read_json(path: Path, max_bytes: int, schema: type[Schema]) -> Schema:
    """Read a JSON file that has exactly the keys of `schema`.

    Raises:
        ValueError, OSError: as `read_small_file`; or other values or keys (UnknownKeyError), with a reason of one line.
    """
    try:
        return schema.model_validate_json(read_small_file(path, max_bytes))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        kind = UnknownKeyError if first["type"] == "extra_forbidden" else ValueError
        raise kind(f"{place[:100]}: {first['msg'][:200]}".removeprefix(": ")) from None


def check_regular(path: Path) -> None:
    """Raise a ValueError for anything but a regular file: a pipe may block when opened, a link point anywhere."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError("not a regular file")
