"""Growth is measured in fresh processes, beside a correct count of FLOPs."""

import sys
from pathlib import Path

import pytest

from mtx.train.flops import step_flops
from scripts.bench import growth
from scripts.bench.measurement import SIZES, Point, measure, translation_flops


@pytest.mark.process
def test_tables_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    axes = {"beam": {beam: [Point("translate", 2, 5, 100, beam)] for beam in (1, 4)}}
    monkeypatch.setattr(growth, "AXES", axes)
    plot = ["--plot", f"{tmp_path}/growth.png"]
    monkeypatch.setattr(sys, "argv", ["growth", "--only", "beam", "--threads", "1", "--repeats", "1", *plot])
    growth.main()
    printed = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in printed.splitlines()[2:7]] == [
        "translate: beam",
        "---",
        "1",
        "4",
        "all",
    ]
    assert not plot or (tmp_path / "growth.png").stat().st_size > 1000


def test_a_step_is_measured() -> None:
    facts = measure(Point("train", 2, 5, 100), "fp32", repeats=2)
    assert 0 < facts["seconds"] < 100
    assert facts["mib"] > facts["mib_beyond_import"] > 0


def test_growth_of_a_known_curve() -> None:
    curve = {n: {"seconds": n**2 / 1e4, "flops": 3 * n, "mib": 100 + n, "mib_beyond_import": 7} for n in (10, 20, 80)}
    rows = growth.table("tokens", "train", curve).splitlines()[2:]
    assert rows == [
        "| 10 | 0.010 |  |  | 0 | 110 | 7 |  |",
        "| 20 | 0.040 | 2.00 | 1.00 | 0 | 120 | 7 | 0.00 |",
        "| 80 | 0.640 | 2.00 | 1.00 | 0 | 180 | 7 | 0.00 |",
        "| all |  | 2.00 | 1.00 |  |  |  | 0.00 |",
    ]


@pytest.mark.parametrize(("src_length", "tgt_length"), [(1, 1), (7, 5)])
def test_a_greedy_search_is_a_forward_pass_that_looks_back_only(src_length: int, tgt_length: int) -> None:
    # Every position attends to all, later ones included.
    forward = step_flops(SIZES, 99, src_length, tgt_length, 1) / 3
    later = SIZES.decoder_layers * 2 * 2 * SIZES.d_model * tgt_length * (tgt_length - 1) / 2
    greedy, wide, wider = (translation_flops(SIZES, 99, src_length, tgt_length, beam) for beam in (1, 2, 3))
    assert greedy == forward - later
    assert wider - wide == wide - greedy > 0
