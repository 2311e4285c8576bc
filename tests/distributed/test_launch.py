"""The launcher exits like the first rank that failed for a reason of its own."""

import pytest

from mtx.distributed.launch import _exit_like_first_failure
from mtx.errors import ExitCode, UserError


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({1: 8, 0: 5}, 5),
        ({0: 3}, 3),
        ({1: 143, 0: 143}, 143),
        ({0: 143, 1: -15}, 143),
        ({1: -9, 0: 143}, "rank 1 was killed by SIGKILL"),
        ({0: 5, 1: -9}, 5),
        ({0: 8, 1: -9}, "rank 1 was killed by SIGKILL"),
        ({3: -11}, "rank 3 was killed by SIGSEGV"),
        ({0: -200}, "signal 200"),
        ({0: 8, 1: 8}, "lost each other"),
    ],
)
def test_failures_caused_by_another_rank_do_not_count(codes: dict[int, int], expected: int | str) -> None:
    if isinstance(expected, int):
        with pytest.raises(SystemExit) as caught:
            _exit_like_first_failure(codes)
        assert caught.value.code == expected
    else:
        with pytest.raises(UserError, match=expected) as caught:
            _exit_like_first_failure(codes)
        assert caught.value.code == ExitCode.PEER_LOST


@pytest.mark.parametrize(
    ("codes", "expected", "rank"),
    [
        ({1: 143, 0: 8}, 143, 1),
        ({0: 8, 1: 143}, 143, 1),
        ({0: 8, 1: -15}, 143, 1),
        ({1: -15, 0: -15}, 143, 1),
        ({0: -15, 1: 8}, 143, 0),
        ({1: 143, 0: -9}, 143, 1),
        ({1: -2}, 130, 1),
    ],
)
def test_the_launcher_reports_a_signal_that_rank_0_could_not_report(
    codes: dict[int, int], expected: int, rank: int
) -> None:
    """Rank 0 was still starting, or lost the other rank."""
    with pytest.raises(UserError, match=f"rank {rank} was stopped by a signal") as caught:
        _exit_like_first_failure(codes)
    assert caught.value.code == expected
