"""Breakdowns equal scores of the parts alone, and each sign is found where it is."""

import sacrebleu

from mtx.judge.breakdown import break_down
from mtx.judge.statistics import bleu_and_chrf

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
    found = break_down(bleu_and_chrf(HYPOTHESES, [REFERENCES], "13a"), SOURCES, [REFERENCES], HYPOTHESES, "en", "de")
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
