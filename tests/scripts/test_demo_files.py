"""The splits of the demo are written as files and scored."""

import re
from pathlib import Path

import pytest

from mtx.demo import read_demo
from mtx.errors import UserError
from scripts.demo_files import compare, main


@pytest.mark.slow
def test_write_and_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["write", str(tmp_path)]) == 0
    lines = (tmp_path / "pronouns.de").read_text(encoding="utf-8").splitlines()
    assert lines == [tgt for _, tgt in read_demo("pronouns")]
    test, pronouns = tmp_path / "test.de", tmp_path / "pronouns.de"
    assert main(["score", "--test-hyp", str(test), "--pronoun-hyp", str(pronouns)]) == 0
    table = capsys.readouterr().out
    assert re.search(r"^model +100\.0 +100\.0%$", table, re.MULTILINE)
    assert "synthetic" in table
    with pytest.raises(UserError, match=r"1 translations for the 1,000 sentences of test\.en"):
        compare(["Eine Zeile."], lines)
