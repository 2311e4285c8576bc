"""Benchmark of corpus size: distinct pairs, a first start and a resumed one."""

import sys
from pathlib import Path

import pytest

from scripts.bench import size


def test_pairs_all_differ_and_go_together(tmp_path: Path) -> None:
    size.write_pairs(tmp_path, 6000)
    src, tgt = ((tmp_path / f"text.{language}").read_text().splitlines() for language in ("en", "de"))
    assert len(src) == len(tgt) == len(set(zip(src, tgt, strict=True))) == 6000
    assert all(4 <= len(line.split()) <= 30 for line in src + tgt)


@pytest.mark.process
def test_a_table_of_two_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(size, "FEW", 300)
    monkeypatch.setattr(size, "STEPS", 3)
    monkeypatch.setenv("MTX_CACHE", str(tmp_path))  # restored at the end
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    options = ["--pairs", "1500", "--threads", "1", "--vocabulary", "400", "--folder", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["size", *options])
    size.main()
    head, row = (line.split("|") for line in capsys.readouterr().out.splitlines()[2::2])
    assert (head[1].strip(), row[1].strip()) == ("pairs", "1,500")
    assert float(row[6].split()[0]) > 0
    assert 100 < int(row[4].replace(",", "")) < 3000
    assert not list(tmp_path.glob("bench-size-*"))
