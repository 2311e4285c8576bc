"""Models and runs of older versions of mtx work and give the same results; there is one folder per format.

A run whose pairs would come in another order continues only with --allow-data-change.
"""

import json
import shutil
from pathlib import Path

import pytest

from mtx.checkpoint.model_folder import load_model
from mtx.checkpoint.training import saved_steps
from mtx.config.load import dump_config, load_config
from mtx.decode.translator import Translator
from mtx.errors import UserError
from mtx.system.device import choose_device, choose_precision
from mtx.train.trainer import train

FORMATS = sorted(Path(__file__).parent.glob("format-*"))


@pytest.mark.parametrize("made", FORMATS, ids=lambda made: made.name)
def test_an_old_model_gives_the_same_translations(made: Path) -> None:
    precision = choose_precision("fp32", choose_device("cpu"))
    model = load_model(made / "model")
    translator = Translator(model, model.generation.decode.with_options(beam_size=5, batch_tokens=1000), precision)
    golden = [json.loads(line) for line in (made / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    found = translator.translate([line["src"] for line in golden])
    assert [translation.tgt for translation in found] == [line["tgt"] for line in golden]
    scores = [translation.nbest[0].score for translation in found]
    assert scores == pytest.approx([line["score"] for line in golden], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("made", FORMATS, ids=lambda made: made.name)
def test_an_old_run_continues(
    made: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(dump_config(load_config(made / "run.yaml", [])))
    shutil.copy(made / "tokenizer.model", run)
    shutil.copytree(made / "checkpoints", run / "checkpoints")
    (step,) = saved_steps(run / "checkpoints")
    caplog.set_level("INFO")
    longer = load_config(made / "run.yaml", [f"train.max_steps={step + 1}"])
    with pytest.raises(UserError, match="continue with --allow-data-change"):
        train(longer, run)  # the old version cleaned and ordered pairs differently
    train(longer, run, allow_data_change=True)
    assert f"resuming from step {step:,}" in caplog.text
    assert "not bit-equal to an uninterrupted run: other training data (prepared differently)" in caplog.messages
    assert saved_steps(run / "checkpoints") == [step, step + 1]
