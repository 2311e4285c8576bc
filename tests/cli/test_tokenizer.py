"""`mtx tokenizer` verifies the tokenizer of a model folder by its manifest."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Mtx


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_the_tokenizer_of_a_model_folder_must_be_undamaged(
    command: str, mtx: "Mtx", finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run / "model", tmp_path / "model")
    assert mtx("tokenizer", command, "-m", tmp_path / "model", stdin=b"the\n").code == 0
    shutil.copy(finished_run / "tokenizer.model", tmp_path / "model" / "spm.model")
    with (tmp_path / "model" / "spm.model").open("ab") as file:
        file.write(b"\xc8\x0c\x00")  # a field that SentencePiece skips
    answer = mtx("tokenizer", command, "-m", tmp_path / "model", stdin=b"the\n")
    assert (answer.code, len(answer.errors), "spm.model: wrong checksum" in answer.err) == (4, 1, True)
    (tmp_path / "model" / "manifest.json").unlink()
    assert (
        mtx("tokenizer", command, "-m", tmp_path / "model", stdin=b"the\n").code == 0
    )  # a folder with only a tokenizer
    (tmp_path / "model" / "manifest.json").symlink_to("/dev/zero")
    assert mtx("tokenizer", command, "-m", tmp_path / "model", stdin=b"the\n").code == 4
    assert mtx("tokenizer", command, "-m", "n" * 300, stdin=b"the\n").code == 4
