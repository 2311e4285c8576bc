"""Text that steers no terminal, and JSON that is whole."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mtx.data.check.alignment import Alignment, Slip
from mtx.data.check.diagnose import Diagnosis
from mtx.data.check.overlap import Example, Overlap
from mtx.data.check.report import format_side, to_json, to_text
from mtx.data.check.scan import Finding, Side, SourceReport

HOSTILE = "\x1b[31m\x9b2J\u202e</script><script>alert('1')</script><img src=x onerror=\"a\"> & \U000e0001\n]]>"


def diagnosis(text: str = HOSTILE, problems: int = 1) -> Diagnosis:
    """One of everything, with `text` wherever text of a file or its name may stand."""
    example = Example(12, text, f"ü{text}")
    sides = [Side("en", 50, 10, 30, [0, 3, *[0] * 39], {"LATIN": 999, "GREEK": 1}), Side("de", 0, 0, 0, [0] * 41, {})]
    findings = [
        Finding("duplicates", "dropped", "clean.duplicates=pair", 2, [example]),
        Finding("copies", "would drop", "clean.copies=drop", 1, [example]),
    ]
    alignment = Alignment([Slip(11, 400, -2)], 200, 401, [0.9, -0.1, 0.85])
    train = SourceReport(text, "train", 4000, 3, findings, sides, alignment, text)
    empty = Side("en", 0, 0, 0, [0] * 41, {})
    dev = SourceReport("dev", "dev", 1, 0, [], [empty, empty], Alignment([], 0, None, []), None)
    shared = [Overlap("dev", "train", 10, 4, 5, 6, 2, [example])]
    return Diagnosis([f"{text} is bad"] * problems, [train, dev], shared, [f"{text} becomes another"] * problems)


def test_text_says_everything() -> None:
    lines = to_text(diagnosis("Ein Hund.")).splitlines()
    assert lines[0] == "train: Ein Hund.: 4,000 pairs before an error, 3,997 to train on"
    assert lines[3:7] == [
        "  dropped              2  duplicates",
        "                   line 12  Ein Hund. | üEin Hund.",
        "  would drop           1  copies (clean.copies=drop)",
        "                   line 12  Ein Hund. | üEin Hund.",
    ]
    assert lines[7] == "  misaligned  lines 11 to 400: line n of the source corresponds to line n - 2 of the target"
    assert lines[8].startswith("  misaligned  200 of 4,000 lines, in blocks from line 401 on")
    assert "dev: dev: 1 pair" in lines
    assert "of 10 dev pairs in train: 4 whole, 5 by source, 6 by target, 2 nearly" in lines
    assert lines[-2:] == ["note: Ein Hund. becomes another", "problem: Ein Hund. is bad"]
    assert to_text(diagnosis(problems=0)).endswith("no problems found")


def test_a_side_in_words() -> None:
    side = Side("en", 100, 30, 80, [], {"LATIN": 99_950, "GREEK": 50})
    assert format_side(side, 10) == "10 letters and 3.0 words a sentence, 80 at most; latin over 99.9 %"
    assert format_side(Side("en", 0, 0, 0, [], {}), 0) == "0 letters and 0.0 words a sentence, 0 at most; no letters"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_steers_a_terminal(text: str) -> None:
    for what in (text, HOSTILE):
        found = diagnosis(what)
        lines = to_text(found).split("\n")
        assert all(line.isprintable() for line in lines)
        assert len(lines) == len(to_text(diagnosis("a")).split("\n"))
        assert to_json(found).isprintable()


def shapes(value: Any) -> Any:
    """The keys of an object and of those in it."""
    if isinstance(value, dict):
        return {key: shapes(inner) for key, inner in value.items()}
    return [shapes(value[0])] if isinstance(value, list) and value else type(value).__name__


def test_json_has_everything_as_it_is() -> None:
    whole = json.loads(to_json(diagnosis()))
    assert whole["problems"] == [f"{HOSTILE} is bad"]
    assert whole["sources"][0]["findings"][0]["examples"][0] == {"line": 12, "src": HOSTILE, "tgt": f"ü{HOSTILE}"}
    example = {"line": "int", "src": "str", "tgt": "str"}
    assert shapes(whole["overlaps"]) == [
        {"role": "str", "within": "str", "num_pairs": "int", "both": "int", "src": "int", "tgt": "int", "near": "int",
         "examples": [example]}
    ]  # fmt: skip
    assert shapes(whole["sources"]) == [
        {
            "name": "str", "role": "str", "num_pairs": "int", "num_dropped": "int", "error": "str",
            "findings": [
                {"rule": "str", "verdict": "str", "setting": "str", "count": "int", "examples": [example]}
            ],
            "sides": [
                {"language": "str", "num_letters": "int", "num_words": "int", "longest": "int", "histogram": ["int"],
                 "scripts": {"LATIN": "int", "GREEK": "int"}}
            ],
            "alignment": {
                "slips": [{"begin": "int", "end": "int", "shift": "int"}], "num_unrelated": "int",
                "first_unrelated": "int", "agreement": ["float"],
            },
        }
    ]  # fmt: skip
    # The docstring names every key.
    names = (
        {name for part in to_json.__doc__.split("`")[1::2] for name in part.split(", ")} if to_json.__doc__ else set()
    )
    keys = {*whole, *whole["sources"][0], *whole["overlaps"][0], *whole["sources"][0]["alignment"]}
    assert keys | {*whole["sources"][0]["findings"][0], *whole["sources"][0]["sides"][0]} <= names


def test_long_examples_fit_their_line() -> None:
    text = "".join(random.Random(1).choices("ab ", k=200))
    assert max(map(len, to_text(diagnosis(text, 0)).split("\n")[3:])) < 160
