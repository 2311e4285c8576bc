"""Zip archives of OPUS: the two files of the languages, or a TMX file, read where they are."""

import gzip
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from mtx.config.sources import Zip
from mtx.data.sources.guess import languages_of
from mtx.data.sources.read import read_pairs, reader
from mtx.errors import ExitCode, UserError

TMX = (
    '<tmx version="1.4"><body><tu><tuv xml:lang="en"><seg>yes</seg></tuv>'
    '<tuv xml:lang="de"><seg>ja</seg></tuv></tu></body></tmx>'
)
OPUS = {
    "README": "all",
    "LICENSE": "free",
    "Books.de-en.de": "ja\nnein\n",
    "Books.de-en.en": "yes\nno\n",
    "a.ids": "1\n",
}


def archive(
    folder: Path, files: dict[str, str | bytes], name: str = "a.zip", packing: int = zipfile.ZIP_DEFLATED
) -> Path:
    with zipfile.ZipFile(folder / name, "w", packing) as new:
        for member, text in files.items():
            new.writestr(member, text)
    return folder / name


def pairs_of(source: Zip) -> list[tuple[str, str]]:
    reader(source).check("en", "de")
    return list(read_pairs(source, "en", "de"))


def test_the_files_that_end_in_the_languages(tmp_path: Path) -> None:
    assert pairs_of(Zip(zip=archive(tmp_path, OPUS))) == [("yes", "ja"), ("no", "nein")]
    packed = {"x/a.en.gz": gzip.compress(b"yes\n"), "x/a.de": "ja\n"}
    assert pairs_of(Zip(zip=archive(tmp_path, packed))) == [("yes", "ja")]


def test_the_files_named(tmp_path: Path) -> None:
    path = archive(tmp_path, {**OPUS, "Other.en": "maybe\n", "Other.de": "vielleicht\n", "memory.tmx": TMX})
    assert pairs_of(Zip(zip=path, src="Other.en", tgt="Other.de")) == [("maybe", "vielleicht")]
    assert pairs_of(Zip(zip=path, src="Other.de", tgt="Other.en")) == [("vielleicht", "maybe")]


def test_one_translation_memory(tmp_path: Path) -> None:
    assert pairs_of(Zip(zip=archive(tmp_path, {"README": "x", "a/Books.tmx": TMX}))) == [("yes", "ja")]
    assert pairs_of(Zip(zip=archive(tmp_path, {"a.tmx.gz": gzip.compress(TMX.encode())}))) == [("yes", "ja")]


def test_several_translation_memories_are_read_one_after_another(tmp_path: Path) -> None:
    other = TMX.replace("yes", "no").replace("ja", "nein")
    foreign = TMX.replace('"de"', '"fr"')
    files = {"b.tmx": TMX, "a/a.tmx.gz": gzip.compress(other.encode()), "c.tmx": foreign}
    assert pairs_of(Zip(zip=archive(tmp_path, files))) == [("yes", "ja"), ("no", "nein"), ("yes", "")]
    with pytest.raises(UserError, match=r"no unit with both en and de \(.*a.zip\)\. .* its languages: en, fr"):
        pairs_of(Zip(zip=archive(tmp_path, {"a.tmx": foreign, "b.tmx": foreign})))


def test_the_languages_are_those_of_the_first_memory(tmp_path: Path) -> None:
    ordered = TMX.replace("<body>", '<header srclang="de"/><body>')
    for name in ("b.tmx", "b.TMX"):
        source = Zip(zip=archive(tmp_path, {"a.txt": "x", name: ordered, "c.tmx": TMX.replace('"de"', '"fr"')}))
        assert languages_of([source], None, None) == ("de", "en")
    assert reader(Zip(zip=archive(tmp_path, {"a.tmx": "no"}))).languages() == ((), False)


def test_what_is_not_read_beside_memories_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert pairs_of(Zip(zip=archive(tmp_path, {"README": "x", "a.tmx": TMX}))) == [("yes", "ja")]
    assert caplog.messages == []
    files = {"README": "x", "a.tmx": TMX, "b.TSV": "a\tb\n", "c.EN": "a\n", "d.fr": "a\n"}
    for _ in range(2):
        assert pairs_of(Zip(zip=archive(tmp_path, files, "some.zip"))) == [("yes", "ja")]
    assert caplog.messages == ["some.zip: not read beside its TMX files: b.TSV, c.EN"]


@pytest.mark.parametrize("files", [{"Books.tmx": TMX}, {"a.en": "yes\n", "a.de": "ja\n"}])
def test_what_macos_adds_is_ignored(files: dict[str, str], tmp_path: Path) -> None:
    forks: dict[str, str | bytes] = {f"__MACOSX/._{name}": b"\0\5\x16\7\0Mac OS X" for name in files}
    added = {".DS_Store": b"\0\0\0\1Bud1", "in/.DS_Store": b"Bud1", "in/._a.tmx": b"\0\5\x16\7"}
    assert pairs_of(Zip(zip=archive(tmp_path, {**added, **forks, **files}))) == [("yes", "ja")]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({}, {}, "no two files that end in .en and .de .* its files: none"),
        ({"a.en": "x\n", "README": "x"}, {}, "no two files that end in .en and .de .*: README, a.en"),
        ({"pairs.tsv": "x\ty\n"}, {}, r"only pairs.tsv \(.*Unpack it and give the file"),
        ({**OPUS, "b.en": "x\n"}, {}, "2 files that end in .en, 1 in .de"),
        (
            {"a.tmx": TMX, "b.tmx": TMX},
            {"src": "a.tmx"},
            "no file a.tmx .*Omit src and tgt to read its TMX files",
        ),
        (OPUS, {"src": "c.en"}, r"no file c.en \(.*a.zip\)"),
        (OPUS, {"tgt": "../a"}, r"no file ../a \(.*a.zip\)"),
        ({"a.en": "x\ny\n", "a.de": "x\n"}, {}, "a.en has 2 lines, a.de 1"),
        ({"a.en": b"\xff\xfex\n", "a.de": "x\n"}, {}, "UTF-16, not UTF-8 .*a.zip: a.en line 1"),
        ({"a.tmx": "no xml"}, {}, r"Start tag expected.*a.zip: a.tmx line 1"),
    ],
)
def test_what_is_wrong_is_one_line(
    files: dict[str, str | bytes], options: dict[str, str], message: str, tmp_path: Path
) -> None:
    source = Zip(zip=archive(tmp_path, files), **options)
    with pytest.raises(UserError, match=message) as caught:
        list(read_pairs(source, "en", "de"))
    assert caught.value.code == ExitCode.DATA


def test_a_damaged_or_encrypted_archive_is_one_line(tmp_path: Path) -> None:
    path = archive(tmp_path, {"a.en": "yes\n" * 999, "a.de": "ja\n" * 999})
    whole = path.read_bytes()
    locked = bytearray(whole)
    for place in (6, whole.index(b"PK\x01\x02") + 8):  # the flag in the header of a file, and in the list of files
        locked[place] |= 1
    cases = [b"", b"text", whole[:-30], whole[:200], whole[:60] + b"\0\1" + whole[62:], bytes(locked)]
    for data in cases:
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"(damaged, or not a zip archive|encrypted zip archive)") as caught:
            list(read_pairs(Zip(zip=path), "en", "de"))
        assert caught.value.code == ExitCode.DATA


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["a.en", "a.tmx"])
def test_what_could_take_any_memory_is_not_unpacked(packing: int, name: str, tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {name: b"a" * (1 << 24)}
    path = archive(tmp_path, files if name == "a.tmx" else {**files, "a.de": "x\n"}, packing=packing)
    assert path.stat().st_size < 1 << 14
    tracemalloc.start()
    try:
        with pytest.raises(
            UserError, match=f"any amount of memory .*a.zip: {name}.*the default method of zip"
        ) as caught:
            list(read_pairs(Zip(zip=path), "en", "de"))
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()
    assert caught.value.code == ExitCode.DATA


def test_how_other_files_are_packed_does_not_matter(tmp_path: Path) -> None:
    path = archive(tmp_path, {"README": "all"}, packing=zipfile.ZIP_LZMA)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as more:
        more.writestr("a.en", "yes\n")
        more.writestr("a.de", "ja\n")
    assert pairs_of(Zip(zip=path)) == [("yes", "ja")]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damage_is_bad_data(packing: int, tmp_path: Path) -> None:
    """Whatever bytes are changed, lost or put in."""
    path = archive(tmp_path, {"Bücher.de-en.de": "ja\nnein\n" * 9, "Bücher.de-en.en": "yes\nno\n" * 9}, packing=packing)
    whole = path.read_bytes()
    source, chance = Zip(zip=path), random.Random(packing)
    codes = set()
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3))):
            begin = chance.randrange(len(damaged))
            damaged[begin : begin + chance.choice((1, 1, 1, 4))] = chance.randbytes(chance.choice((1, 1, 1, 0, 2)))
        path.write_bytes(damaged)
        for read in (lambda: list(read_pairs(source, "en", "de")), lambda: languages_of([source], None, None)):
            try:
                read()
            except UserError as error:
                codes.add(error.code)
    assert codes == {ExitCode.DATA, ExitCode.USAGE}  # the latter: which languages it holds is not told


@pytest.mark.parametrize("name", ["missing.zip", "folder"])
def test_what_is_not_there_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"cannot read .*{name}") as caught:
        reader(Zip(zip=tmp_path / name)).check("en", "de")
    assert caught.value.code == ExitCode.DATA


@pytest.mark.slow
def test_nothing_is_unpacked(tmp_path: Path) -> None:
    """Neither into memory nor onto the disk."""
    path = archive(tmp_path, {"../../a.en": "the dog\n" * 10**6, "/etc/a.de": "der Hund\n" * 10**6})
    before = sorted(tmp_path.rglob("*"))
    tracemalloc.start()
    assert sum(1 for _ in read_pairs(Zip(zip=path), "en", "de")) == 10**6
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()
    assert sorted(tmp_path.rglob("*")) == before
