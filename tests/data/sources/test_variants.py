"""Codes of any standard find the text of a language in every kind of source, and several variants are told."""

import json
import zipfile
from pathlib import Path

import pytest

from mtx.config.sources import Folder, HubDataset, Jsonl, Source, Tmx, Zip
from mtx.data.sources.guess import languages_of
from mtx.data.sources.read import expand_folders, read_pairs, reader, usable_pairs
from mtx.data.sources.variants import Variants
from mtx.errors import UserError

Texts = dict[str, str]  # A text by its code


def tmx(path: Path, *units: Texts) -> Tmx:
    """Write a TMX file with these units."""
    variant = '<tuv xml:lang="{}"><seg>{}</seg></tuv>'
    body = "".join(f"<tu>{''.join(variant.format(*each) for each in unit.items())}</tu>" for unit in units)
    path.write_text(f'<tmx version="1.4"><header srclang="en"/><body>{body}</body></tmx>', encoding="utf-8")
    return Tmx(tmx=path)


def jsonl(path: Path, *records: Texts) -> Jsonl:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Jsonl(jsonl=path)


def table(path: Path, *records: Texts) -> HubDataset:
    """Write a Parquet file with these rows."""
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(records)), path)
    return HubDataset(dataset=str(path))


def folder(path: Path, *texts: Texts) -> Folder:
    """Write a file for each code; the lines of each number have a name of their own."""
    path.mkdir()
    for number, by_code in enumerate(texts):
        for code, text in by_code.items():
            (path / f"part{number}.{code}").write_text(f"{text}\n")
    return Folder(folder=path)


def archive(path: Path, texts: Texts) -> Zip:
    """Write a zip with a file for each code."""
    with zipfile.ZipFile(path, "w") as file:
        for code, text in texts.items():
            file.writestr(f"x.{code}", f"{text}\n")
    return Zip(zip=path)


def sources(tmp_path: Path, texts: Texts) -> list[Source]:
    """A source of each kind that finds its text by languages."""
    return [
        tmx(tmp_path / "a.tmx", texts), jsonl(tmp_path / "a.jsonl", texts), table(tmp_path / "a.parquet", texts),
        jsonl(tmp_path / "b.jsonl", {"translation": texts}), table(tmp_path / "b.parquet", {"translation": texts}),  # type: ignore[dict-item]
        folder(tmp_path / "folder", texts), archive(tmp_path / "a.zip", texts),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("zh", "zho"), ("zho", "zh"), ("cmn", "zh_CN"), ("chi", "zh-Hans"), ("zh-Hant-TW", "zh_TW"), ("zh_TW", "zh"),
     ("pt_BR", "pt-BR"), ("pt", "pt_BR"), ("deu", "de"), ("de", "ger"), ("jpn", "ja"), ("ko", "kor"), ("iw", "he")],
)  # fmt: skip
def test_any_code_of_a_language_finds_it(wanted: str, code: str, tmp_path: Path) -> None:
    for source in sources(tmp_path, {"en": "a dog", code: "x", "fr": "un chien"}):
        assert list(read_pairs(source, "eng", wanted)) == [("a dog", "x")], source


def test_the_very_code_goes_before_other_variants(tmp_path: Path) -> None:
    texts = {"en": "a dog", "pt-PT": "y", "pt-BR": "x", "pt": "z"}
    for source in sources(tmp_path, texts):
        for code, expected in (("pt_BR", "x"), ("pt-PT", "y"), ("por", "z")):
            assert list(read_pairs(source, "en", code)) == [("a dog", expected)], source


def test_several_variants_are_told_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    units = [{"en": "a", "zh-CN": "1"}, {"en": "b", "zh-TW": "2"}, {"en": "c", "zh-TW": "3", "zh-CN": "4"}] * 2
    units += [{"en": "d", "zh-CN": "5"}] * 4
    for source in (tmx(tmp_path / "a.tmx", *units), jsonl(tmp_path / "a.jsonl", *units)):
        variants = Variants()
        pairs = [("a", "1"), ("b", "2"), ("c", "3")] * 2 + [("d", "5")] * 4
        assert list(read_pairs(source, "en", "zho", variants=variants)) == pairs
        [note] = variants.notes()
        assert note.startswith("several variants of zho: zh-CN (8), zh-TW (4);")
        assert note.endswith("To use one only, set tgt_lang: zh-CN")
        assert list(usable_pairs(source, "en", "zho")) == pairs
        assert caplog.messages == [f"{reader(source).label}: {note}"]
        caplog.clear()
    variants = Variants()
    only = [tgt for _, tgt in read_pairs(tmx(tmp_path / "a.tmx", *units), "en", "zh-TW", variants=variants)]
    assert only == ["", "2", "3", "", "2", "3", "", "", "", ""]
    assert list(variants.notes()) == []


def test_other_spellings_of_a_code_are_no_variants(tmp_path: Path) -> None:
    variants = Variants()
    units = [{"en-US": "a", "de": "1"}, {"EN_us": "b", "DE": "2"}]
    assert list(read_pairs(tmx(tmp_path / "a.tmx", *units), "en", "de", variants=variants)) == [("a", "1"), ("b", "2")]
    assert list(variants.notes()) == []


def test_a_choice_among_columns_and_files_is_left_to_the_user(tmp_path: Path) -> None:
    texts = {"en": "a dog", "pt_PT": "y", "pt_BR": "x"}
    for source in (table(tmp_path / "a.parquet", texts), archive(tmp_path / "a.zip", texts)):
        with pytest.raises(UserError, match=r"pt_PT.*pt_BR|pt_BR.*pt_PT"):
            list(read_pairs(source, "en", "pt"))
    with pytest.raises(UserError, match=r"part0 exists in several variants of pt .* one of pt_BR, pt_PT"):
        expand_folders([folder(tmp_path / "folder", texts)], "en", "pt")


def test_files_of_a_folder_in_several_variants_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = folder(
        tmp_path / "folder", {"en": "a", "pt_PT": "x"}, {"en": "b", "pt_BR": "y"}, {"en": "c", "pt_BR": "z"}
    )
    assert list(read_pairs(source, "en", "pt")) == [("a", "x"), ("b", "y"), ("c", "z")]
    assert "several variants of pt: pt_BR (2), pt_PT (1)" in caplog.text
    caplog.clear()
    [only] = expand_folders([folder(tmp_path / "other", {"en": "a", "pt_BR": "x"}, {"de": "b"})], "en", "pt-BR")
    assert reader(only).label == "part0.en and part0.pt_BR"
    assert "several" not in caplog.text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None), ("en", "zh")),
        (("eng", None), ("eng", "zh")),
        ((None, "zho"), ("en", "zho")),
        (("zho", "en"), None),
    ],
)
def test_given_languages_are_compared_with_those_of_the_files(
    given: tuple[str | None, str | None], expected: tuple[str, str] | None, tmp_path: Path
) -> None:
    source = tmx(tmp_path / "a.tmx", {"EN-US": "a", "zh-CN": "b"})
    if expected is None:
        with pytest.raises(UserError, match="by their names the source is en and the target zh"):
            languages_of([source], *given)
    else:
        assert languages_of([source], *given) == expected
    if expected is not None and given != (None, None):
        assert languages_of([folder(tmp_path / "folder", {"en": "a", "zh": "b"})], *given) == expected


def test_the_advice_names_a_variant_that_is_narrower() -> None:
    variants = Variants()
    for codes in (["pt"], ["pt"], ["pt-BR"], ["PT"]):
        variants.choose("tgt", "pt", codes)
    assert [note.rpartition(" ")[2] for note in variants.notes()] == ["pt-BR"]
