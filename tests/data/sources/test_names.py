"""File names tell their language in their last suffix, before that of a packed file."""

import pytest

from mtx.data.sources.names import language_of_name


@pytest.mark.parametrize(
    ("name", "language"),
    [("train.en", "en"), ("train.de.gz", "de"), ("news.pt_BR.xz", "pt_BR"), ("x.zho_Hans", "zho_Hans"), ("X.EN", "EN"),
     ("x.fil", "fil"), ("notes.txt", None), ("NOTES.TXT", None), ("corpus.src", None), ("corpus.de-fr.ids", None),
     ("x.jp", None), ("x.zip", None), ("x.part", None), ("README", None), ("en", None), (".en", None)],
)  # fmt: skip
def test_the_language_of_a_file_name(name: str, language: str | None) -> None:
    assert language_of_name(name) == language
