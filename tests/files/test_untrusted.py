"""Only regular files are opened, no more of them is read than was meant, and JSON says what its schema has."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from mtx.files.untrusted import check_regular, read_json, read_small_file


def test_a_file_is_read_whole_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_small_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        read_small_file(tmp_path / "file", 4)
    with pytest.raises(FileNotFoundError):
        read_small_file(tmp_path / "missing", 4)


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        os.mkdir,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.with_name("good")),
        lambda path: path.symlink_to(path),
    ],
    ids=["pipe", "folder", "link to a device", "link to a file", "link to itself"],
)
def test_only_a_regular_file_is_opened(make: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"12345")
    make(tmp_path / "odd")
    for path in (tmp_path / "odd", Path("/dev/null")):
        with pytest.raises(ValueError, match="not a regular file"):
            read_small_file(path, 10)
        with pytest.raises(ValueError, match="not a regular file"):
            check_regular(path)


class Size(BaseModel, extra="forbid", strict=True):
    width: int = Field(ge=1, le=9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"width": 10}', "width: Input should be less than or equal to 9"),
        ('{"width": "5"}', "width: Input should be a valid integer"),
        ('{"width": 1e999}', "width: "),
        ('{"width": 5, "class": "os.system"}', "class: Extra inputs are not permitted"),
        ("{}", "width: Field required"),
        ("[" * 10_000, "Invalid JSON: recursion limit exceeded"),
        ('{"' + "k" * 10_000 + '": 5}', "width: Field required"),
        ('{"width": 5, "' + "k" * 10_000 + '": 5}', "k" * 100 + ": Extra"),
        ("", "Invalid JSON"),
        ("{" + " " * 20_000 + "}", "larger than 20,000 bytes"),
    ],
)
def test_json_says_neither_less_nor_more(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "size.json").write_text('{"width": 5}')
    assert read_json(tmp_path / "size.json", 20_000, Size).width == 5
    (tmp_path / "size.json").write_text(text)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_json(tmp_path / "size.json", 20_000, Size)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
