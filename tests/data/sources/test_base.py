"""A source is one class: whoever writes one changes nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mtx.config.load import load_config
from mtx.config.settings import DataSettings
from mtx.config.sources import SOURCE_KINDS, FilePath, Source, SourceSettings
from mtx.data.prepared.fingerprint import content_key
from mtx.data.sources.base import Pair, Reader, language_of_name
from mtx.data.sources.guess import sources_of
from mtx.data.sources.read import read_pairs, reader, readers
from mtx.train.trainer import train


class Toy(SourceSettings, extra="forbid", frozen=True, strict=True):
    """A file with a word a line, translated into itself, twice."""

    example = "{toy: FILE}"
    toy: FilePath
    weight: float = 1.0
    tag: str | None = None


class ToyReader(Reader[Toy]):
    settings_type = Toy
    suffixes = (".toy",)

    def pairs(self, src_lang: str, tgt_lang: str) -> Iterator[Pair]:
        for word in self.settings.toy.read_text().split():
            yield word, f"{word} {word}"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    monkeypatch.setitem(readers(), Toy, ToyReader)
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "words.toy"
    path.write_text("".join(f"{a}{b}{c}\n" for a in "abcd" for b in "efgh" for c in "ijkl"))
    return Toy(toy=path)  # type: ignore[return-value]


def test_every_kind_of_settings_has_a_reader() -> None:
    assert set(readers()) == set(SOURCE_KINDS.values())


def test_the_base_class_answers_what_a_source_does_not(toy: Source, tmp_path: Path) -> None:
    path = tmp_path / "words.toy"
    assert reader(toy).label == "words.toy"
    assert reader(toy).files() == [path]
    assert sources_of([str(path)], "train") == [toy]
    settings = DataSettings.model_construct(src_lang="en", tgt_lang="de", train=(toy,))
    before = content_key(toy, settings)
    moved = path.rename(tmp_path / "moved.toy")
    assert content_key(toy.model_copy(update={"toy": moved}), settings) == before
    moved.write_text("other words")
    assert content_key(toy.model_copy(update={"toy": moved}), settings) != before


def test_it_trains(toy: Source, tmp_path: Path) -> None:
    config_file = tmp_path / "my.yaml"
    config_file.write_text(
        "data: {train: [{demo: dev}]}\ntokenizer: {vocab_size: 30, byte_fallback: false}\n"
        "model: {d_model: 8, num_heads: 1, d_ff: 8, encoder_layers: 1, decoder_layers: 1}\n"
        "train: {max_steps: 2, warmup_steps: 1, precision: fp32, device: cpu}\n"
    )
    config = load_config(config_file, [])
    data = config.data.model_copy(update={"train": (toy,)})
    run = tmp_path / "run"
    train(config.model_copy(update={"data": data}), run)
    assert (run / "model" / "manifest.json").exists()
    assert len(list(read_pairs(toy, "en", "de"))) == 64


@pytest.mark.parametrize(
    ("name", "language"),
    [("train.en", "en"), ("train.de.gz", "de"), ("news.pt_BR.xz", "pt_BR"), ("x.zho_Hans", "zho_Hans"), ("X.EN", "EN"),
     ("x.fil", "fil"), ("notes.txt", None), ("NOTES.TXT", None), ("corpus.src", None), ("corpus.de-fr.ids", None),
     ("x.jp", None), ("x.zip", None), ("x.part", None), ("README", None), ("en", None), (".en", None)],
)  # fmt: skip
def test_the_language_of_a_file_name(name: str, language: str | None) -> None:
    assert language_of_name(name) == language
