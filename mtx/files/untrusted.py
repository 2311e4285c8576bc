"""Files that anyone may have made, read with care: no link, no pipe, no device, never more than was meant."""

import os
import stat
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

Schema = TypeVar("Schema", bound=BaseModel)


def read_small_file(path: Path, max_bytes: int) -> bytes:
    """All of a regular file.

    Raises:
        ValueError: it is none, or larger than `max_bytes`.
        OSError: it can't be read, or is not there.
    """
    check_regular(path)
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"larger than {max_bytes:,} bytes")
    return data


def read_json(path: Path, max_bytes: int, schema: type[Schema]) -> Schema:
    """What a JSON file says, where it says neither less nor more than `schema` has.

    Raises:
        ValueError: it doesn't, or is no regular file, or larger than `max_bytes`; says why on one line.
        OSError: it can't be read, or is not there.
    """
    try:
        return schema.model_validate_json(read_small_file(path, max_bytes))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"{place[:100]}: {first['msg'][:200]}".removeprefix(": ")) from None


def check_regular(path: Path) -> None:
    """Make sure that opening `path` neither waits, as a pipe does, nor leads elsewhere, as a link does.

    Raises:
        ValueError: it is no regular file.
        OSError: it can't be looked at, or is not there.
    """
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError("no regular file")
