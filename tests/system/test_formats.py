"""Sizes, durations and rates read naturally at every magnitude."""

import pytest

from mtx.system.formats import format_duration, format_flops, format_megabytes


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (7200, "2.0 h"),
        (86_400, "24.0 h"),
        (2e5, "2.3 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_sizes_and_rates() -> None:
    assert format_megabytes(1_234_567_890) == "1,234.6 MB"
    assert [format_flops(rate) for rate in (3.8e11, 9e12, 1e13)] == ["380 GFLOP/s", "9,000 GFLOP/s", "10 TFLOP/s"]
