"""Breakdowns equal scores of the parts alone, and each sign is found where it is."""

import sacrebleu

from mtx.judge.judgement import Parts, judge
from mtx.judge.test_set import TestSet, Translated

SOURCES = [
    "A dog runs.",
    "The cat sees the big dog in the garden today.",
    "He sleeps. She reads.",
    "Good morning, my friends!",
    "Room 12 and room 345 are free.",
    "A <b>big</b> house.",
    "A small tree.",
]
REFERENCES = [
    "Ein Hund rennt.",
    "Die Katze sieht heute den großen Hund im Garten.",
    "Er schläft. Sie liest.",
    "Guten Morgen, meine Freunde!",
    "Zimmer 12 und Zimmer 345 sind frei.",
    "Ein <b>großes</b> Haus.",
    "Ein kleiner Baum.",
]
HYPOTHESES = [
    "",
    "Die Katze sieht den Hund im Garten.",
    "Er schläft. Sie Sie Sie Sie Sie Sie liest.",
    "Good morning, my friends!",
    "Zimmer 21 und Zimmer 543 sind frei.",
    "Ein großes Haus.",
    "Маленькое дерево.",
]


def test_parts_and_signs() -> None:
    test_set = TestSet("test", SOURCES, [REFERENCES], None, "de", src_lang="en")
    report = judge(test_set, Translated(HYPOTHESES), Parts(breakdown=True))
    found = report.breakdown
    assert found is not None
    assert found.flags == dict.fromkeys(found.flags, 1)
    assert len(found.flags) == 6
    assert [(each.name, each.num_sentences) for each in found.by_sentences] == [("1", 6), ("2", 1)]
    assert [(each.name, each.num_sentences) for each in found.by_length] == [("0-5", 5), ("6-10", 2)]
    longer = [1, 4]
    parts = [[lines[i] for i in longer] for lines in (HYPOTHESES, REFERENCES)]
    assert found.by_length[1].bleu == sacrebleu.corpus_bleu(parts[0], [parts[1]]).score
    assert found.by_length[1].chrf == sacrebleu.corpus_chrf(parts[0], [parts[1]]).score
    assert [each.line for each in found.worst[:2]] == [1, 7]
    assert found.worst[0].flags == ("empty",)


def test_a_record_of_each_sentence() -> None:
    test_set = TestSet("test", SOURCES, [REFERENCES, HYPOTHESES], None, "de", src_lang="en")
    first, *_, last = judge(
        test_set, Translated(HYPOTHESES), Parts(sentences=True), Translated(REFERENCES, "base")
    ).sentences
    assert (last.line, last.src, last.references) == (7, "A small tree.", ("Ein kleiner Baum.", "Маленькое дерево."))
    assert (last.tgt, last.baseline_tgt, last.flags) == ("Маленькое дерево.", "Ein kleiner Baum.", ("wrong script",))
    assert (last.chrf, last.baseline_chrf, last.change) == (100.0, 100.0, 0.0)
    assert first.change == sacrebleu.sentence_chrf("", [REFERENCES[0], ""]).score - 100.0
    report = judge(TestSet("test", [], [REFERENCES], None, "de"), Translated(HYPOTHESES), Parts(sentences=True))
    assert [(each.src, each.flags, each.change) for each in report.sentences] == [("", (), 0.0)] * 7


def test_the_most_changed_sentences() -> None:
    test_set = TestSet("test", SOURCES, [REFERENCES], None, "de", src_lang="en")
    other = [REFERENCES[0], *HYPOTHESES[1:6], REFERENCES[6]]
    for translated, baseline in ((HYPOTHESES, other), (other, HYPOTHESES)):
        found = judge(test_set, Translated(translated), Parts(breakdown=True), Translated(baseline, "b")).breakdown
        assert found is not None
        changed = [found.lost, found.gained] if baseline is other else [found.gained, found.lost]
        assert [[each.line for each in sentences] for sentences in changed] == [[1, 7], []]


def test_characters_are_counted_where_words_have_no_spaces() -> None:
    lines = ["今天天气很好。", "好。"]
    test_set = TestSet("test", lines, [lines], None, "zh", src_lang="zh")
    found = judge(test_set, Translated(lines), Parts(breakdown=True)).breakdown
    assert found is not None
    assert [(each.name, each.num_sentences) for each in found.by_length] == [("0-5", 1), ("6-10", 1)]
