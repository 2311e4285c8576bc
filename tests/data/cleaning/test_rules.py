"""Each rule drops what it is for and leaves what only looks like it."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.config.settings import CLEANING, CleanSettings, DataSettings, TokenizerSettings
from mtx.config.sources import Tsv
from mtx.data.cleaning import rules as cleaning
from mtx.data.cleaning.clean import build_cleaner
from mtx.data.cleaning.rules import (
    has_damage,
    has_other_numbers,
    has_unequal_markup,
    is_copy,
    is_in_another_language,
    is_in_another_script,
    is_unlike_in_length,
)
from mtx.data.prepared.prepare import prepare
from mtx.errors import ExitCode, UserError
from mtx.text.train_tokenizer import train_tokenizer
from mtx.text.writing_systems import SCRIPTS, scripts_of, share_in

STRICT = CleanSettings(level="strict", language="drop", letters="drop")


def test_each_rule_has_a_key_and_each_key_a_rule() -> None:
    others = {"level", "duplicates", "held_out", "repair"}
    assert set(cleaning.RULES) == set(CleanSettings.model_fields) - others, "add a row to RULES, or a key to `clean`"
    assert list(cleaning.enabled_rules(STRICT, "en", "de")) == [reason for reason, _ in cleaning.RULES.values()]


@pytest.mark.parametrize("text", ["CafÃ© au lait", "a \ufffd b", "donâ€™t", "a\x00b", "a\x07", "\x85", "\ue000", "Â©"])
def test_what_a_wrong_encoding_leaves_is_damage(text: str) -> None:
    assert has_damage(text, "Kaffee")
    assert has_damage("coffee", text)


@pytest.mark.parametrize(
    "text", ["Café", "São João", "tab\there", "日本語", "“quoted” – and… so", "Â la carte", "🙂", "Ångström"]
)
def test_what_only_is_not_ascii_is_none(text: str) -> None:
    assert not has_damage(text, text)


@pytest.mark.parametrize(
    ("src", "tgt", "is_unequal"),
    [
        ("<b>Stop</b>", "Halt", True),
        ("Halt", 'Go <a href="x">on</a>', True),
        ("AT&amp;T", "AT&T", True),
        ("<br/>", "<br />", False),
        ("Tom &#38; I", "Tom &amp; ich", False),
        ("1 < 2 > 0", "eins", False),
        ("AT&T", "AT und T", False),
        ("a <3 b", "c", False),
    ],
)
def test_markup_counts_on_one_side_only(src: str, tgt: str, is_unequal: bool) -> None:
    assert has_unequal_markup(src, tgt) == has_unequal_markup(tgt, src) == is_unequal


@pytest.mark.parametrize(
    ("src", "tgt", "expected"),
    [
        ("Paris", " paris ", True),
        ("Hello", "Hallo", False),
        ("42", "42", False),
        ("...", "...", False),
        ("é", "É", True),
    ],
)
def test_copies_are_the_same_letters(src: str, tgt: str, expected: bool) -> None:
    assert is_copy(src, tgt) == expected


@pytest.mark.parametrize(
    ("src", "tgt", "langs", "expected"),
    [
        ("Hello there", "Привет", ("en", "ru"), False),
        ("Hello there", "Hello", ("en", "ru"), True),
        ("Привет", "Привет", ("en", "ru"), True),
        ("iPhone 15", "Айфон iPhone X Pro", ("en", "ru"), True),
        ("Now", "今はです", ("en", "ja"), False),
        ("Now", "今日", ("en", "zh_TW"), False),
        ("Now and then", "ab", ("en", "zh"), False),
        ("Dobro", "добро", ("sr", "sr"), False),
        ("Hello", "12345", ("en", "ru"), False),
        ("任意", "anything", ("tlh", "qya"), False),
    ],
)
def test_scripts_are_those_of_the_languages(src: str, tgt: str, langs: tuple[str, str], expected: bool) -> None:
    assert is_in_another_script(src, tgt, *langs) == expected


@pytest.mark.parametrize("code", ["zho", "cmn", "chi", "zh_TW", "zho_Hans"])
def test_any_code_of_a_language_knows_its_script_and_its_identifier(code: str) -> None:
    english, chinese = (
        "The house is very old and stands on a hill.",
        "这座房子很旧，在一座小山上。它很大，也很漂亮，我们都喜欢。",
    )
    assert is_in_another_script(english, english, "eng", code)
    assert not is_in_another_script(english, chinese, "eng", code)
    pytest.importorskip("py3langid")
    assert is_in_another_language(english, english, "eng", code)
    assert not is_in_another_language(english, chinese, "eng", code)


@pytest.mark.slow
def test_shares_of_scripts() -> None:
    assert share_in("abc где", ("Latin",)) == 0.5
    assert share_in("é", ("Latin",)) == 1
    assert share_in("123", ("Latin",)) == 1
    assert share_in("12é", ("Cyrillic",)) == 0
    assert scripts_of("PT-br") == scripts_of("pt_BR") == ("Latin",)
    assert {name for names in SCRIPTS.values() for name in names} >= {"Latin", "Cyrillic", "Arabic", "Han", "Hangul"}
    for scripts in set(SCRIPTS.values()):
        assert cleaning.share_in("a", scripts) in (0, 1)


@pytest.mark.parametrize(
    ("src", "tgt", "expected"),
    [
        ("In 1999 and 2001", "1999 und 2001", False),
        ("In 1999 and 2001", "im Jahr 1998 und 2002", True),
        ("1,000,000 and 25.5", "1.000.000 und 25,5", False),
        ("12 or 13 of 14 or 15", "12, 13 und 14", False),
        ("page 15", "Seite 16", False),
        ("10 20", "", True),
        ("3 of 4", "drei von vier", False),
    ],
)
def test_numbers_have_to_agree(src: str, tgt: str, expected: bool) -> None:
    assert has_other_numbers(src, tgt) == has_other_numbers(tgt, src) == expected


@pytest.mark.parametrize(
    ("src", "tgt", "expected"),
    [
        ("The dog runs quickly through the old park.", "Der Hund läuft schnell durch den alten Park.", False),
        ("The dog runs quickly through the old park.", "Le chien court vite dans le vieux parc ce matin.", True),
        ("Der Hund läuft schnell durch den alten Park.", "Der Hund läuft schnell durch den alten Park.", True),
        ("OK.", "Oui.", False),
    ],
)
def test_languages_are_told_apart_where_that_is_sure(src: str, tgt: str, expected: bool) -> None:
    assert is_in_another_language(src, tgt, "en", "de-AT") == expected
    assert not is_in_another_language(src, tgt, "tlh", "qya")


@pytest.mark.parametrize(
    ("src", "tgt", "ratio", "expected"),
    [
        ("No.", "a" * 30, 3, False),
        ("No.", "a" * 45, 3, True),
        ("a" * 200, "b" * 30, 4, True),
        ("a" * 200, "b" * 45, 4, False),
        ("the old house", "旧房子", 1.3, False),
        ("오래된 집", "the old house", 1.3, False),
        ("a" * 300, "あ" * 40, 4, False),
    ],
)
def test_lengths_are_compared_with_a_little_room(src: str, tgt: str, ratio: float, expected: bool) -> None:
    assert is_unlike_in_length(src, tgt, ratio) == is_unlike_in_length(tgt, src, ratio) == expected


def test_levels_are_names_for_values_and_keys_beside_them_win() -> None:
    assert CleanSettings() == CleanSettings(level="mild")
    off = CleanSettings(level="none")
    assert (off.duplicates, off.damage, build_cleaner(off, "en", "de").rules) == ("keep", "keep", {})
    assert CleanSettings(level="strict", copies="keep").copies == "keep"
    for level, values in CLEANING.items():
        settings = CleanSettings(level=level)
        assert {name: getattr(settings, name) for name in values} == values


def test_the_first_reason_is_given() -> None:
    cleaner = build_cleaner(STRICT, "en", "de")
    assert cleaner.drop_reason(("a good dog", "ein guter Hund")) is None
    assert cleaner.drop_reason(("a \ufffd <b>dog</b>", "ein Hund")) == "damaged by a wrong encoding"
    assert cleaner.drop_reason(("a <b>dog</b>", "ein Hund")) == "with markup on one side"
    assert cleaner.drop_reason(("Hotel", "Hotel")) == "copies"
    assert cleaner.drop_reason(("собака", "ein Hund")) == "in another script"


def test_repair_mends_what_was_decoded_wrongly_and_nothing_else() -> None:
    cleaner = build_cleaner(CleanSettings(repair=True), "en", "fr")
    assert cleaner.repaired(("donâ€™t", "CafÃ©")) == ("don’t", "Café")
    right = ("“quotes” &amp; ﬁne Ａ", "l’été\u2028fini")
    assert cleaner.repaired(right)[0].startswith("“quotes” &amp;")
    assert "\n" not in cleaner.repaired(right)[1]
    assert build_cleaner(CleanSettings(), "en", "fr").repaired(("CafÃ©", "x")) == ("CafÃ©", "x")


@pytest.mark.parametrize(("package", "settings"), [("ftfy", {"repair": True}), ("py3langid", {"language": "drop"})])
def test_what_is_not_installed_is_said_at_once(
    package: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaning._identifier.cache_clear()
    cleaning.load_fixer.cache_clear()
    for name in [package, *(name for name in sys.modules if name.startswith(package))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"needs {package}, which is not installed.* mtx\\[clean\\]") as caught:
        build_cleaner(CleanSettings(**settings), "en", "de")
    assert caught.value.code == ExitCode.MACHINE
    cleaning._identifier.cache_clear()
    cleaning.load_fixer.cache_clear()


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["en", "ja", "ru", "xx"]))
def test_any_text_gets_a_verdict(src: str, tgt: str, language: str) -> None:
    cleaner = build_cleaner(CleanSettings(level="strict", repair=True), "en", language)
    cleaner.drop_reason(cleaner.repaired((src, tgt)))


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [("keep", [0, 1, 2, 3, 4]), ("pair", [0, 1, 2, 4]), ("src", [0, 2, 4]), ("tgt", [0, 1, 4])],
)
def test_duplicates_are_of_a_pair_or_a_side(
    duplicates: str, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.tsv").write_text("the dog\tHund\nthe dog\tKöter\nthe cat\tHund\n the dog\tHund \nold cat\tKatze\n")
    source = Tsv(tsv=tmp_path / "a.tsv")
    text = (tmp_path / "a.tsv").read_text().split()
    tokenizer = train_tokenizer(text, text, TokenizerSettings(vocab_size=290), print)
    clean = CleanSettings(duplicates=duplicates)
    corpus = prepare([source], DataSettings(train=(source,)), clean, tokenizer)
    assert [int(corpus.lines[[row]][0]) for row in range(len(corpus))] == expected
    assert corpus.dropped == ({"duplicate": 5 - len(expected)} if len(expected) < 5 else {})
