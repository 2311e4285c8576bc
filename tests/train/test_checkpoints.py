"""The best checkpoint and the two newest are always kept; those averaged at the end are deleted last."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtx.checkpoint.training import Evaluation, Progress
from mtx.config.settings import TrainSettings
from mtx.train import checkpoints
from mtx.train.checkpoints import kept_steps, make_room
from mtx.train.run_folder import RunFolder
from mtx.train.validation import best_of

SCORES = st.sampled_from([0.0, 1.0, 1.5])


@given(
    st.lists(st.tuples(SCORES, SCORES, st.booleans(), st.booleans()), min_size=1), st.integers(2, 4), st.integers(1, 4)
)
def test_the_right_checkpoints_of_any_run_are_kept(
    saves: list[tuple[float, float, bool, bool]], keep: int, average: int
) -> None:
    """Checkpoints are saved and pruned one by one; some are regular, some of them are evaluated."""
    left: list[int] = []
    regular: list[int] = []
    evaluations: list[Evaluation] = []
    for step, (bleu, loss, is_regular, is_evaluated) in enumerate(saves, start=1):
        left.append(step)
        regular += [step] * is_regular
        averaged = [step for step in left if step in regular][-average:]
        kept = kept_steps(left, evaluations, averaged, keep)
        left = [step for step in left if step in kept]
        if is_evaluated:
            evaluations.append(Evaluation(step, loss, bleu, 0.0))
        assert left[-keep:] == list(range(max(step - keep, 0) + 1, step + 1))
        assert [step for step in left if step in regular][-average:] == regular[-average:]
        assert not evaluations or best_of(evaluations).step in left
        assert len(left) <= keep + average + 1


@pytest.mark.parametrize(
    ("now", "average", "patience", "left"),
    [
        (60, 3, 0, [10, 50]),  # three more will come
        (80, 3, 0, [10, 60, 70]),
        (80, 2, 0, [10, 70]),
        (60, 3, 4, [10, 30, 40, 50]),  # the run may end before the three are saved
    ],
)
def test_making_room_keeps_what_the_run_still_needs(
    now: int, average: int, patience: int, left: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = list(range(10, now, 10))
    deleted: list[int] = []
    monkeypatch.setattr(checkpoints, "delete_checkpoints", lambda _folder, steps: deleted.extend(steps))
    monkeypatch.setattr(checkpoints, "saved_steps", lambda _checkpoints: saved)
    settings = TrainSettings(save_every=10, eval_every=80, max_steps=80, average=average, patience=patience)
    progress = Progress(step=now, evaluations=[Evaluation(10, 1.0, 9.0, 0.0), Evaluation(20, 1.0, 1.0, 0.0)])
    make_room(progress, RunFolder(Path("run")), settings)
    assert sorted({*saved} - {*deleted}) == left
