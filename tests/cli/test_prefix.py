"""`mtx translate --prefix`, and input in JSON with a prefix for each line."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import PAIRS, Mtx

SOURCES = [src for src, _ in PAIRS[:3]]


def test_each_translation_begins_with_the_prefix(finished_run: Path, mtx: Mtx) -> None:
    for option in ([], ["--beam", "1"], ["--sample"]):
        answer = mtx("translate", "-m", finished_run, "--prefix", "Der K ", *option, *SOURCES)
        assert answer.code == 0, answer.err
        assert all(line.startswith("Der K ") for line in answer.out.splitlines())
        assert len(answer.out.splitlines()) == 3


def test_lines_of_json_have_their_own(finished_run: Path, mtx: Mtx) -> None:
    records = [{"src": SOURCES[0], "prefix": "H"}, {"src": SOURCES[1]}, {"prefix": "", "src": SOURCES[2]}, {"src": ""}]
    stdin = "\n".join([*map(json.dumps, records), "", json.dumps({"src": "7", "prefix": None})]).encode()
    given = ["translate", "-m", finished_run, "--input-format", "jsonl"]
    plain = mtx("translate", "-m", finished_run, *SOURCES[1:]).out.splitlines()
    found = mtx(*given, stdin=stdin).out.splitlines()
    assert found[0].startswith("H")
    assert found[1:] == [*plain, "", "", "7"]
    found = mtx(*given, "--prefix", "D", "--format", "jsonl", stdin=stdin).out.splitlines()
    translated = [json.loads(line) for line in found]
    assert [each["src"] for each in translated] == [*SOURCES, "", "", "7"]
    assert [each["tgt"][:1] for each in translated] == ["H", "D", plain[1][:1], "D", "D", "D"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON (stdin line 2)"),
        ("[" * 20_000, "not JSON (stdin line 2)"),
        ('"text"', 'not an object with text as "src" (stdin line 2)'),
        ('{"prefix": "Ein"}', 'not an object with text as "src" (stdin line 2)'),
        ('{"src": null}', 'not an object with text as "src" (stdin line 2)'),
        ('{"src": "dog", "prefx": "Ein"}', 'unknown key "prefx" (stdin line 2)'),
        ('{"src": "dog", "prefix": 3}', '"prefix" is not text (stdin line 2)'),
        ('{"src": "\\ud800"}', '"src" contains half a surrogate pair (stdin line 2)'),
        ('{"src": "dog", "tag": "2de"}', 'the model has no tag "2de" (stdin line 2). Leave it out.'),
        (
            '{"src": "dog", "prefix": "a\\nb"}',
            "no translation by this model can begin with the prefix ('a\\nb', stdin line 2)",
        ),
    ],
)
def test_a_bad_line_is_named_after_those_before_it(line: str, what: str, finished_run: Path, mtx: Mtx) -> None:
    answer = mtx("translate", "-m", finished_run, "--input-format", "jsonl", stdin=f'{{"src": "1"}}\n{line}\n'.encode())
    assert answer.code == 3
    assert what in answer.err
    assert answer.out == "1\n"


def test_options_that_do_not_fit_the_model_are_refused(finished_run: Path, mtx: Mtx) -> None:
    answer = mtx("translate", "-m", finished_run, "--prefix", "a\nb", "dog")
    assert (answer.code, answer.out) == (3, "")
    answer = mtx("translate", "-m", finished_run, "--beam", "5", "--beam-groups", "2", "dog")
    assert (answer.code, "does not divide the beam of 5 into equal groups" in answer.err) == (2, True)
    assert "Add --beam 6." in answer.err
    assert mtx("translate", "-m", finished_run, "--beam", "6", "--beam-groups", "3", "dog").code == 0
