"""Data of version 3 of the preparation: a run in progress goes on if it is the same now."""

from pathlib import Path

import pytest

from mtx.config.settings import CleanSettings, Config, DataSettings
from mtx.config.sources import Tsv
from mtx.data.prepared.earlier import was_prepared_alike
from mtx.data.prepared.prepare import data_key
from tests.data.prepared.test_prepare import a_tokenizer

UNCHANGED = [
    ("dog", "cat"),
    ("Größe № 5", "fÃ¼r"),
    ("a\ufffdb", "c"),
    ("a \x07", "c"),
    ("It’s", "Itâ€™s"),
    ("Â©", "c"),
]


@pytest.mark.parametrize(
    ("pairs", "languages", "clean", "is_alike"),
    [
        (UNCHANGED, ("en", "de"), {}, True),
        ([*UNCHANGED, ("A MINHA IRMÃ\u00a0»", "x")], ("en", "de"), {}, False),  # was dropped
        ([*UNCHANGED, ("x", "Å¡kola")], ("en", "de"), {}, False),  # was kept
        ([*UNCHANGED, ("A MINHA IRMÃ\u00a0»", "x")], ("en", "de"), {"damage": "keep"}, True),
        (UNCHANGED, ("en", "zho"), {}, False),
    ],
)
def test_data_is_alike_if_the_rule_for_damage_says_the_same(
    pairs: list[tuple[str, str]], languages: tuple[str, str], clean: dict[str, str], is_alike: bool, tmp_path: Path
) -> None:
    path, tokenizer = tmp_path / "a.tsv", a_tokenizer()
    path.write_text("".join(f"{src}\t{tgt}\n" for src, tgt in pairs))
    data = DataSettings(src_lang=languages[0], tgt_lang=languages[1], train=(Tsv(tsv=path),))
    config = Config(data=data, clean=CleanSettings.model_validate(clean))
    key = data_key(data.train, data, config.clean, tokenizer, version=3)
    assert (key == data_key(data.train, data, config.clean, tokenizer)) == (clean == {"damage": "keep"})
    assert was_prepared_alike(key, config, tokenizer) == is_alike
    assert not was_prepared_alike("", config, tokenizer)
    path.write_text("other\ttext\n")
    assert not was_prepared_alike(key, config, tokenizer)
