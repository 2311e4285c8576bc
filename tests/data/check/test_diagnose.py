"""The doctor counts what an independent count finds, drops what training drops, and says no where it should."""

import random
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mtx.config.settings import CleanSettings, Config, DataSettings, TokenizerSettings
from mtx.config.sources import Folder, Jsonl, Source, Tsv, TwoFiles
from mtx.data.check import scan as examination
from mtx.data.check.diagnose import Diagnosis, diagnose
from mtx.data.check.overlap import MAX_EXAMPLES
from mtx.data.check.scan import DUPLICATES, REPAIRED
from mtx.data.cleaning import rules
from mtx.data.cleaning.clean import build_cleaner
from mtx.data.prepared.prepare import prepare
from mtx.data.sources import read
from mtx.data.sources.base import Pair
from mtx.data.sources.read import expand_folders
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import can_fork
from mtx.text.train_tokenizer import train_tokenizer

NOUNS = {"dog": "Hund", "cat": "Kater", "man": "Mann", "cook": "Koch", "guest": "Gast", "bird": "Vogel", "old": "alte"}
DIRT = [
    ("", "leer"), ("blank", "  "), ("CafÃ© au lait", "Kaffee"), ("<b>dog</b>", "Hund"), ("Hotel", "Hotel"),
    ("собака бежит", "der Hund rennt"), ("in 1999 and 2001", "in 1998 und 2000"), ("No.", "a" * 400),
    ("The dog runs quickly through the old park.", "Le chien court vite dans le vieux parc ce matin."),
    ("schÃ¶n", "schön"), ("a\x07", "b"),
]  # fmt: skip
"""Pairs that the rules are about."""

CHECKED = ("damage", "markup", "copies", "script", "numbers", "language", "max_ratio")  # Keys of those rules

DirtyCorpus = Callable[..., list[Pair]]


def clean_pairs(num_pairs: int, seed: int = 0) -> list[Pair]:
    """Pairs of unlike lengths, each another; line n of one side goes with line n of the other."""
    draw = random.Random(seed)
    found = []
    for number in range(num_pairs):
        words = draw.choices(list(NOUNS), k=draw.randint(3, 14))
        src, tgt = " ".join(words), " ".join(NOUNS[word] for word in words)
        found.append((f"The {src} x{number}y{seed}.", f"Der {tgt} x{number}y{seed}."))
    return found


def dirty_pairs(num_pairs: int, seed: int = 0) -> list[Pair]:
    """Some of which are bad in some way, or were there before: whole, or on one side, where the other may be bad."""
    draw = random.Random(seed)
    found: list[Pair] = []
    for pair in clean_pairs(num_pairs, seed):
        src, tgt = draw.choice(found) if found else pair
        kind = draw.randrange(10)
        repeated = [(src, tgt), (src, pair[1]), (pair[0], tgt), (src, "a\x07"), (f" {src} ", f"{tgt} ")]
        found.append(repeated[kind] if kind < 5 else draw.choice(DIRT) if kind < 7 else pair)
    return found


def write(folder: Path, name: str, pairs: Sequence[Pair]) -> TwoFiles:
    for ending, side in (("en", 0), ("de", 1)):
        (folder / f"{name}.{ending}").write_bytes("".join(pair[side] + "\n" for pair in pairs).encode())
    return TwoFiles(src=folder / f"{name}.en", tgt=folder / f"{name}.de")


def config(*train: Source, clean: CleanSettings | None = None, **data: Any) -> Config:
    return Config(data=DataSettings(train=train, **data), clean=clean or CleanSettings())


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 37)


def findings(diagnosis: Diagnosis, number: int = 0) -> dict[str, int]:
    return {each.rule: each.count for each in diagnosis.sources[number].findings}


# --- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_groups")
def test_each_rule_counts_what_an_independent_count_finds(tmp_path: Path) -> None:
    pairs = dirty_pairs(600)
    [source] = diagnose(config(write(tmp_path, "a", pairs))).sources
    all_rules = build_cleaner(CleanSettings(level="strict", max_ratio=9.0, language="drop"), "en", "de").rules
    unusable = build_cleaner(CleanSettings(level="none"), "en", "de").drop_reason
    repair = build_cleaner(CleanSettings(repair=True), "en", "de").repaired
    expected: dict[str, list[int]] = {}
    seen: dict[str, set[Any]] = {kind: set() for kind in DUPLICATES}
    for line, pair in enumerate(pairs, start=1):
        fault = unusable(pair)
        reasons = [fault] if fault else [name for name, rule in all_rules.items() if rule(*pair)]
        if not fault:
            reasons += [REPAIRED] if repair(pair) != pair else []
            plain = tuple(text.strip() for text in pair)
            for kind, key in (("pair", plain), ("src", plain[0]), ("tgt", plain[1])):
                reasons += [DUPLICATES[kind]] if key in seen[kind] else []
                seen[kind].add(key)
        for reason in reasons:
            expected.setdefault(reason, []).append(line)
    names = {rules.RULES[key][0] for key in CHECKED} | {*DUPLICATES.values(), REPAIRED, "empty"}
    found = [each for each in source.findings if each.rule in names]
    assert {each.rule: each.count for each in found} == {name: len(expected[name]) for name in names}
    for each in found:
        assert [example.line for example in each.examples] == expected[each.rule][:MAX_EXAMPLES]
        assert [(example.src, example.tgt) for example in each.examples] == [
            tuple(text if len(text) <= 200 else text[:199] + "…" for text in pairs[line - 1])
            for line in expected[each.rule][:MAX_EXAMPLES]
        ]


@pytest.mark.usefixtures("small_groups")
@pytest.mark.parametrize("duplicates", ["keep", "pair", "src", "tgt"])
@pytest.mark.parametrize("level", ["none", "mild", "strict"])
def test_as_many_are_dropped_as_training_drops(
    level: str, duplicates: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "more").mkdir()
    write(tmp_path / "more", "b", dirty_pairs(80, seed=2))
    write(tmp_path / "more", "c", [*dirty_pairs(60, seed=3), *dirty_pairs(30, seed=1)])
    clean = CleanSettings(level=level, duplicates=duplicates, repair=level == "strict", language="drop")
    whole = config(write(tmp_path, "a", dirty_pairs(300, seed=1)), Folder(folder=tmp_path / "more"), clean=clean)
    text = [text for pair in dirty_pairs(100) for text in pair]
    tokenizer = train_tokenizer(text, text, TokenizerSettings(vocab_size=400), print)
    sources = expand_folders(whole.data.train, "en", "de")
    data = whole.data.model_copy(update={"max_tokens": 100_000})  # what is too long in tokens nobody can tell yet
    corpus = prepare(sources, data, clean, tokenizer)
    examined = diagnose(whole).sources
    assert sum(each.num_pairs for each in examined) == corpus.num_read == 470
    assert sum(each.num_dropped for each in examined) == sum(corpus.dropped.values())
    dropping = {each.rule for source in examined for each in source.findings if each.verdict == "dropped"}
    assert dropping - set(DUPLICATES.values()) == set(corpus.dropped) - {"duplicate"}
    assert (DUPLICATES["pair"] in dropping) == ("duplicate" in corpus.dropped) == (duplicates != "keep")
    assert (DUPLICATES["src"] in dropping) == (duplicates == "src")


def test_a_rule_of_the_config_has_its_own_limit(tmp_path: Path) -> None:
    pairs = [*clean_pairs(20), ("No.", "a" * 300)]
    source = write(tmp_path, "a", pairs)
    assert findings(diagnose(config(source))) == {"of unlike lengths": 1}
    [loose] = diagnose(config(source, clean=CleanSettings(max_ratio=20.0))).sources
    assert (loose.num_dropped, loose.findings) == (0, [])


def test_a_rule_with_a_limit_keeps_its_default_or_that_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LaterSettings(CleanSettings, extra="forbid", frozen=True, strict=True):
        min_words: int = 0

    def has_few_words(src: str, tgt: str, min_words: int) -> bool:
        return min(len(src.split()), len(tgt.split())) < min_words

    monkeypatch.setitem(rules.RULES, "min_words", ("too short", has_few_words))
    monkeypatch.setitem(examination.RULE_KEYS, "too short", "min_words")
    monkeypatch.setattr(examination, "CleanSettings", LaterSettings)
    source = write(tmp_path, "a", [*clean_pairs(20), ("No dogs.", "Keine Hunde.")])
    assert findings(diagnose(config(source, clean=LaterSettings()))) == {}
    [report] = diagnose(config(source, clean=LaterSettings(min_words=3))).sources
    [finding] = report.findings
    assert (finding.rule, finding.count, finding.verdict) == ("too short", 1, "dropped")
    assert finding.setting == "clean.min_words"


def test_what_would_be_dropped_says_what_asks_for_it(tmp_path: Path) -> None:
    [source] = diagnose(config(write(tmp_path, "a", dirty_pairs(300)))).sources
    for each in source.findings:
        if each.setting is None:
            assert (each.rule, each.verdict) == ("empty", "dropped")
            continue
        key, _, value = each.setting.partition("=")
        values: dict[str, Any] = {key.removeprefix("clean."): {"true": True, "": 9.0}.get(value, value)}
        [asked] = diagnose(config(write(tmp_path, "a", dirty_pairs(300)), clean=CleanSettings(**values))).sources
        verdict = next(other.verdict for other in asked.findings if other.rule == each.rule)
        assert verdict == ("mended" if each.rule == REPAIRED else "dropped")


def test_dev_and_test_sets_are_not_cleaned(tmp_path: Path) -> None:
    train, dev = write(tmp_path, "a", clean_pairs(50)), write(tmp_path, "b", dirty_pairs(90, seed=4))
    examined = diagnose(config(train, dev=dev, clean=CleanSettings(level="strict"))).sources[1]
    assert {each.verdict for each in examined.findings if each.rule != "empty"} == {"noted"}
    assert examined.num_dropped == next(each.count for each in examined.findings if each.rule == "empty")


def test_lengths_and_scripts_are_told(tmp_path: Path) -> None:
    [source] = diagnose(config(write(tmp_path, "a", [("ab cd", "Ünd где"), ("x" * 25, "y"), ("", "z" * 999)]))).sources
    src, tgt = source.sides
    assert (src.num_letters, src.num_words, src.longest) == (30, 3, 25)
    assert (tgt.num_letters, tgt.num_words, tgt.longest) == (1007, 4, 999)
    assert (src.histogram[:3], sum(src.histogram)) == ([2, 0, 1], 3)
    assert (tgt.histogram[0], tgt.histogram[-1]) == (2, 1)
    assert src.scripts == {"LATIN": 29}
    assert tgt.scripts == {"LATIN": 1003, "CYRILLIC": 3}


@pytest.mark.process
@pytest.mark.skipif(not can_fork(), reason="workers are forked, which mtx does on Linux only")
@pytest.mark.usefixtures("small_groups")
def test_several_processes_find_what_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev = write(tmp_path, "a", dirty_pairs(400)), write(tmp_path, "b", dirty_pairs(100))
    whole = config(train, dev=dev)
    found = []
    for count in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        found.append(diagnose(whole))
    assert found[0] == found[1]
    assert found[0].overlaps[0].both > 50


@pytest.mark.slow
def test_memory_grows_by_few_bytes_a_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MAX_CHUNK_PAIRS", 500)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(examination, "find_spec", lambda _: None)
    peaks = []
    for num_pairs in (4_000, 16_000):
        source = write(tmp_path, str(num_pairs), clean_pairs(num_pairs))
        tracemalloc.start()
        diagnose(config(source))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 60 * 12_000


# --- problems --------------------------------------------------------------------------------------------------------


def test_sound_data_has_no_problem(tmp_path: Path) -> None:
    sets = {role: write(tmp_path, role, clean_pairs(300, seed)) for seed, role in ((1, "dev"), (2, "test"))}
    diagnosis = diagnose(config(write(tmp_path, "a", clean_pairs(1000)), **sets))
    assert diagnosis.problems == []
    assert [each.role for each in diagnosis.sources] == ["train", "dev", "test"]
    assert [(each.role, each.within) for each in diagnosis.overlaps] == [
        ("dev", "train"), ("test", "train"), ("test", "dev")
    ]  # fmt: skip
    assert all(each.both == 0 for each in diagnosis.overlaps)


def slipped(pairs: list[Pair]) -> list[Pair]:
    """`pairs` without the target of line 501."""
    targets = [tgt for _, tgt in pairs]
    return list(zip([src for src, _ in pairs], [*targets[:500], *targets[501:], "Schluss."], strict=True))


def shuffled(pairs: list[Pair]) -> list[Pair]:
    targets = random.Random(1).sample([tgt for _, tgt in pairs], len(pairs))
    return list(zip([src for src, _ in pairs], targets, strict=True))


FRENCH = "Le chien court vite dans le vieux parc ce matin, numéro "
PROBLEMS: dict[str, tuple[Callable[[list[Pair]], list[Pair]], str]] = {
    "nothing": (lambda pairs: [], "none of 0 training pairs is left"),
    "nothing whole": (lambda pairs: [(src, "") for src, _ in pairs], "none of 1,000 training pairs is left"),
    "much dropped": (lambda pairs: pairs[:400] * 3, "800 of 1,200 training pairs would be dropped"),
    "a shift": (slipped, "misaligned lines "),
    "no order": (shuffled, "misaligned 1,000 of 1,000 lines, in blocks from line 1 on"),
    "sides swapped": (lambda pairs: [(FRENCH + tgt, src) for src, tgt in pairs], "are in another language"),
    "copies": (lambda pairs: [(src, src) for src, _ in pairs], "1,000 of 1,000 pairs are copies"),
    "a script": (lambda pairs: [("собака бежит" + src[-9:], tgt) for src, tgt in pairs], "are in another script"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_should_stop_a_training(kind: str, tmp_path: Path) -> None:
    damage, expected = PROBLEMS[kind]
    problems = diagnose(config(write(tmp_path, "a", damage(clean_pairs(1000))))).problems
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(("num_leaked", "is_problem"), [(15, False), (16, True)])
@pytest.mark.parametrize(("role", "within"), [("dev", "train"), ("test", "train"), ("test", "dev")])
def test_held_out_pairs_that_are_not(role: str, within: str, num_leaked: int, is_problem: bool, tmp_path: Path) -> None:
    sets = {"train": clean_pairs(400), "dev": clean_pairs(300, 1), "test": clean_pairs(300, 2)}
    sets[within] = [*sets[within], *sets[role][:num_leaked]]
    sources = {name: write(tmp_path, name, pairs) for name, pairs in sets.items()}
    diagnosis = diagnose(config(sources["train"], dev=sources["dev"], test=sources["test"]))
    shared = {(each.role, each.within): each.both for each in diagnosis.overlaps if each.both}
    assert shared == {(role, within): num_leaked}
    assert diagnosis.problems == ([f"16 of 300 {role} pairs are also in {within}"] if is_problem else [])


def test_an_empty_set_is_a_problem(tmp_path: Path) -> None:
    whole = config(write(tmp_path, "a", clean_pairs(50)), dev=write(tmp_path, "b", []))
    assert diagnose(whole).problems == ["b.en and b.de: the dev set is empty"]


def test_a_source_that_ends_badly_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    pairs = slipped(clean_pairs(1000))
    bad = write(tmp_path, "a", pairs)
    bad.tgt.write_bytes(b"".join(bad.tgt.read_bytes().splitlines(keepends=True)[:-1]))
    diagnosis = diagnose(config(bad, write(tmp_path, "b", clean_pairs(30, 5)), dev=bad))
    assert [source.num_pairs for source in diagnosis.sources] == [999, 30, 999]
    assert diagnosis.sources[0].error is not None
    assert "a.en has 1000 lines, a.de 999" in diagnosis.problems[0]
    assert "misaligned lines " in diagnosis.problems[1]


def test_what_cannot_be_read_at_all_is_bad_data(tmp_path: Path) -> None:
    for source in (TwoFiles(src=tmp_path / "no", tgt=tmp_path / "no"), Folder(folder=tmp_path / "no")):
        with pytest.raises(UserError) as caught:
            diagnose(config(source))
        assert caught.value.code == ExitCode.DATA
    (tmp_path / "a.jsonl").write_text('{"en": 1}\n')
    with pytest.raises(UserError):
        diagnose(config(Jsonl(jsonl=tmp_path / "a.jsonl")))


def test_a_line_without_two_columns_is_told_with_what_was_before(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("the dog\tder Hund\nnothing else\n")
    diagnosis = diagnose(config(Tsv(tsv=tmp_path / "a.tsv")))
    assert diagnosis.sources[0].num_pairs == 2
    assert "found 1 columns" in diagnosis.problems[-1]


def test_huge_lines_are_one_pair_and_short_examples(tmp_path: Path) -> None:
    pairs = [*clean_pairs(20), ("word " * 300_000, "Wort " * 300_000), ("z" * 70_000, "y" * 70_000)]
    [source] = diagnose(config(write(tmp_path, "a", pairs))).sources
    assert findings(diagnose(config(write(tmp_path, "a", pairs))))["over 1 MB"] == 1
    assert source.sides[0].longest == 65_535
    assert all(len(example.src) <= 200 for each in source.findings for example in each.examples)


def test_many_translations_of_the_same_are_no_problem(tmp_path: Path) -> None:
    pairs = clean_pairs(300)
    several = [(pairs[number // 3][0], tgt) for number, (_, tgt) in enumerate(pairs)]
    diagnosis = diagnose(config(write(tmp_path, "a", sorted(several, key=lambda pair: len(pair[1])))))
    assert findings(diagnosis)[DUPLICATES["src"]] == 200
    assert not any("are with a source" in problem for problem in diagnosis.problems)


def test_a_normalization_that_changes_targets_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("1½ cups\t1½ Tassen，2 cl\n" * 3 + "broken\t½\ufffd\n", encoding="utf-8")
    data = DataSettings(train=(Tsv(tsv=path),))
    assert not diagnose(Config(data=data)).notes
    (note,) = diagnose(Config(data=data, tokenizer=TokenizerSettings(normalization="nmt_nfkc"))).notes
    changes = "changes 6 characters of the target, such as ½ as 1⁄2, ， as ,"
    assert note == f"tokenizer.normalization {changes}; leave it out to keep all characters"
