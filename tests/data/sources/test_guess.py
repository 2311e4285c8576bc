"""Paths and names on the command line become the right sources; languages that they don't state are asked for."""

import os
import zipfile
from pathlib import Path

import pytest

from mtx.config.sources import Folder, HubDataset, Jsonl, Source, Tmx, Tsv, TwoFiles, Zip
from mtx.data.sources.guess import languages_of, sources_of
from mtx.errors import ExitCode, UserError

TMX = (
    '<tmx version="1.4"><header srclang="{srclang}"/><body><tu><tuv xml:lang="{one}"><seg>a</seg></tuv>'
    '<tuv xml:lang="{other}"><seg>b</seg></tuv></tu></body></tmx>'
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.en", "a.de.gz", "b.en", "b.de", "c.txt", "c.src", "t.tsv.xz", "j.jsonl", "p.parquet", "z.zip"):
        Path(name).touch()
    Path("m.tmx").write_text(TMX.format(srclang="EN", one="de-DE", other="en-US"))
    for folder, names in (("texts", ("x.en", "x.de.gz", "notes.txt")), ("tables", ("train.parquet", "test.parquet"))):
        Path(folder).mkdir()
        for name in names:
            (Path(folder) / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "sources"),
    [
        (["a.en", "a.de.gz"], [TwoFiles(src=Path("a.en"), tgt=Path("a.de.gz"))]),
        (["pipe", "gone.de"], [TwoFiles(src=Path("pipe"), tgt=Path("gone.de"))]),
        (["c.src", "c.txt"], [TwoFiles(src=Path("c.src"), tgt=Path("c.txt"))]),
        (["a.en", "b.en", "a.de.gz", "b.de"],
         [TwoFiles(src=Path("a.en"), tgt=Path("a.de.gz")), TwoFiles(src=Path("b.en"), tgt=Path("b.de"))]),
        (["b.de", "b.en", "a.en", "a.de.gz"],
         [TwoFiles(src=Path("b.de"), tgt=Path("b.en")), TwoFiles(src=Path("a.de.gz"), tgt=Path("a.en"))]),
        (["t.tsv.xz"], [Tsv(tsv=Path("t.tsv.xz"))]),
        (["j.jsonl", "m.tmx", "z.zip"], [Jsonl(jsonl=Path("j.jsonl")), Tmx(tmx=Path("m.tmx")), Zip(zip=Path("z.zip"))]),
        (["p.parquet"], [HubDataset(dataset="p.parquet", split="validation")]),
        (["texts"], [Folder(folder=Path("texts"))]),
        (["tables"], [HubDataset(dataset="tables", split="validation")]),
        (["owner/name"], [HubDataset(dataset="owner/name", split="validation")]),
        (["a.en", "a.de.gz", "owner/name", "t.tsv.xz"],
         [TwoFiles(src=Path("a.en"), tgt=Path("a.de.gz")), HubDataset(dataset="owner/name", split="validation"),
          Tsv(tsv=Path("t.tsv.xz"))]),
        (["a.en", "t.tsv.xz", "a.de.gz"],
         [TwoFiles(src=Path("a.en"), tgt=Path("a.de.gz")), Tsv(tsv=Path("t.tsv.xz"))]),
    ],
)  # fmt: skip
def test_words_are_sources(words: list[str], sources: list[Source]) -> None:
    os.mkfifo("pipe")
    os.symlink("nowhere", "gone.de")
    assert sources_of(words, "dev") == sources


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["a.en"], ExitCode.USAGE, ["one text file given, two needed (source and target) (a.en)", "mtx init SRC TGT"]),
        (["a.en", "a.de.gz", "b.en"], ExitCode.USAGE, ["one text file given", "(b.en)"]),
        (["b.en", "b.en"], ExitCode.USAGE, ["source and target are the same file (b.en)"]),
        (["b.en", "link.de"], ExitCode.USAGE, ["the same file"]),
        (["a.en", "a.dee"], ExitCode.DATA, ["cannot read a.dee", "owner/name"]),
        (["texts/y.en"], ExitCode.DATA, ["cannot read texts/y.en: no such file"]),
        (["a.en", "owner/name"], ExitCode.DATA, ["cannot read owner/name"]),
        (["a.en", "a.de.gz", "a.fr"], ExitCode.DATA, ["cannot read a.fr"]),
        ([""], ExitCode.DATA, ["cannot read ''"]),
        (["nothing"], ExitCode.DATA, ["cannot read nothing"]),
        (["/nowhere/at/all"], ExitCode.DATA, ["cannot read"]),
    ],
)
def test_words_that_mean_nothing_are_said(words: list[str], code: ExitCode, parts: list[str]) -> None:
    os.symlink("b.en", "link.de")
    with pytest.raises(UserError) as caught:
        sources_of(words, "train")
    assert caught.value.code == code
    assert all(part in str(caught.value) for part in parts), caught.value


def archive(*names: str) -> None:
    with zipfile.ZipFile("z.zip", "w") as file:
        for name in names:
            file.writestr(name, "x\n")


@pytest.mark.parametrize(
    ("words", "given", "languages"),
    [
        (["a.en", "a.de.gz"], (None, None), ("en", "de")),
        (["a.de.gz", "a.en"], (None, None), ("de", "en")),
        (["a.en", "a.de.gz"], ("en_GB", None), ("en_GB", "de")),
        (["a.en", "b.en"], (None, None), ("en", "en")),
        (["c.src", "a.de.gz"], ("fr", "de"), ("fr", "de")),
        (["m.tmx"], (None, None), ("en", "de")),
        (["texts"], ("de", None), ("de", "en")),
        (["texts"], (None, "de"), ("en", "de")),
        (["z.zip"], ("fr", None), ("fr", "de")),
        (["j.jsonl", "a.en", "a.de.gz"], (None, None), ("en", "de")),
        (["t.tsv.xz"], ("x", "y"), ("x", "y")),
    ],
)
def test_languages_are_told(words: list[str], given: tuple[str | None, str | None], languages: tuple[str, str]) -> None:
    archive("README", "corpus.de-fr.fr", "corpus.de-fr.de", "corpus.de-fr.ids")
    assert languages_of(sources_of(words, "train"), *given) == languages


@pytest.mark.parametrize(
    ("words", "given", "do"),
    [
        (["texts"], (None, None), "the files mention de, en"),
        (["texts"], ("fr", None), "the files mention de, en"),
        (["c.src", "c.txt"], (None, None), "Give --src-lang and --tgt-lang."),
        (["c.src", "a.de.gz"], (None, None), "the files mention de"),
        (["t.tsv.xz"], ("en", None), "Give --src-lang and --tgt-lang."),
        (["z.zip"], (None, None), "Give --src-lang"),
        (["owner/name"], (None, None), "Give --src-lang"),
        (["a.de.gz", "a.en"], ("en", "de"), "Give the source first."),
    ],
)
def test_languages_are_asked_for(words: list[str], given: tuple[str | None, str | None], do: str) -> None:
    with pytest.raises(UserError) as caught:
        languages_of(sources_of(words, "train"), *given)
    assert caught.value.code == ExitCode.USAGE
    assert do in str(caught.value), caught.value


@pytest.mark.parametrize("srclang", ["*all*", "", "fr"])
def test_a_memory_that_does_not_say_its_source_is_not_guessed_at(srclang: str) -> None:
    Path("m.tmx").write_text(TMX.format(srclang=srclang, one="de", other="en"))
    with pytest.raises(UserError, match="the files mention de, en"):
        languages_of(sources_of(["m.tmx"], "train"), None, None)
    assert languages_of(sources_of(["m.tmx"], "train"), "de", None) == ("de", "en")
