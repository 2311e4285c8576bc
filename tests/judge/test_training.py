"""Test sets are looked up in training data: rare words, and sentences that are there."""

from collections import Counter
from pathlib import Path

import pytest

from mtx.config.load import load_config
from mtx.errors import UserError
from mtx.judge import training
from mtx.judge.test_set import TestSet
from mtx.judge.training import look_up, recorded_training_pairs, training_pairs

TRAINING = [
    ("A dog sees a cat.", "Ein Hund sieht eine Katze."),
    ("a dog, sees a cat", "Ein Hund sah eine Katze."),
    ("The dog sleeps.", "Der Hund schläft."),
    ("狗看见猫。", "Der Hund sieht die Katze."),
]


def a_set(*pairs: tuple[str, ...]) -> TestSet:
    sources, *references = (list(lines) for lines in zip(*pairs, strict=True))
    return TestSet("test", sources, references, None, "de")


def test_words_and_sentences_are_looked_up() -> None:
    first = a_set(("The dog sees a cat.", "x"), ("a DOG sees a cat!", "ein hund sah eine katze"), ("Zyzzyva dog", "y"))
    second = a_set(("狗狗猫", "x"), ("", ""), ("the dog sleeps", "x"))
    counts = Counter(["a", "dog", "sees", "a", "cat", "a", "dog", "sees", "a", "cat", "the", "dog", "sleeps"])
    found = look_up([first, second], TRAINING)
    assert found[0].rarest == [counts["the"], min(counts[word] for word in ("a", "dog", "sees", "cat")), 0]
    assert (found[0].has_source, found[0].has_pair) == ([False, True, False], [False, True, False])
    assert (found[1].rarest, found[1].has_source) == ([1, 0, 1], [False, False, True])
    assert (found[1].has_pair, found[1].num_pairs) == ([False] * 3, 4)


def test_any_reference_makes_a_pair() -> None:
    found = look_up([a_set(("The dog sleeps.", "Anders.", "Der Hund schläft"))], TRAINING)[0]
    assert found.has_pair == [True]


def test_the_number_of_pairs_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MAX_PAIRS", 2)
    found = look_up([a_set(("The dog sleeps.", "Der Hund schläft."))], TRAINING)[0]
    assert (found.num_pairs, found.has_source, found.rarest) == (2, [False], [0])


def test_recorded_pairs_are_without_those_held_out_and_move_with_the_run(tmp_path: Path) -> None:
    run = tmp_path / "old" / "run"
    run.mkdir(parents=True)
    for name, lines in (("train", TRAINING), ("dev", TRAINING[2:3])):
        (run.parent / f"{name}.tsv").write_text("".join("\t".join(pair) + "\n" for pair in lines), encoding="utf-8")
    paths = "".join(f"  {role}: [{{tsv: {run.parent / role}.tsv}}]\n" for role in ("train", "dev"))
    config = f"data:\n  src_lang: en\n  tgt_lang: de\n{paths}"
    (run / "config.yaml").write_text(config, encoding="utf-8")
    assert list(recorded_training_pairs(run)) == TRAINING
    (run / "config.yaml").write_text(config + "clean: {held_out: pair}\n", encoding="utf-8")
    (tmp_path / "old").rename(tmp_path / "new")
    moved = tmp_path / "new" / "run"
    assert list(recorded_training_pairs(moved)) == [*TRAINING[:2], TRAINING[3]]
    (moved.parent / "train.tsv").unlink()
    with pytest.raises(UserError, match="is missing"):
        list(recorded_training_pairs(moved))


def test_a_hub_is_not_asked() -> None:
    config = load_config(None, ["data.train=[{dataset: owner/name}]"])
    with pytest.raises(UserError, match="hub"):
        next(training_pairs(config.data, config.clean))
