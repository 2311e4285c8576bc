"""Benchmark of decoding, with mtx alone; its tables; weights converted for other runtimes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import sacrebleu

from mtx.checkpoint.model_folder import TrainedModel, save_model
from mtx.checkpoint.tensors import weights_of
from mtx.cli.options import load_translator
from mtx.config.settings import ModelSettings
from mtx.model.layers import sinusoids
from scripts.bench import decode
from scripts.bench.weights import longest_output, positions, read_decoding, read_folder, to_m2m100_name


@pytest.fixture(scope="module")
def model_folder(trained: TrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "model"
    sizes = ModelSettings(d_model=16, num_heads=4, d_ff=24, encoder_layers=2, decoder_layers=2)
    weights = {name: weight.float() for name, weight in weights_of(trained.model).items()}
    save_model(folder, trained, sizes, weights, {}, "A card.")
    return folder


@pytest.mark.process
def test_mtx_alone(
    model_folder: Path,
    sentences: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    src, ref = sentences[:6], sentences[1:7]
    for name, lines in (("src", src), ("ref", ref)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    command = f"decode --model {model_folder} --src {tmp_path}/src --ref {tmp_path}/ref --only mtx --threads 1"
    options = "--precision fp32 fp7 --batch-tokens 100 64 --beams 2 --rounds 2 --latency 3 --cold 0"
    monkeypatch.setattr(sys, "argv", [*command.split(), *options.split(), "--json", f"{tmp_path}/json"])
    decode.main()

    expected = load_translator(model_folder, {"beam_size": 2, "batch_tokens": 64}, "fp32", "cpu").translate(src)
    bleu = sacrebleu.corpus_bleu([translation.tgt for translation in expected], [ref]).score
    printed = capsys.readouterr().out
    assert f"| {bleu:.2f} | +0.00 |" in printed
    assert printed.count("left out: mtx fp7: 'fp7'") == 2
    record = json.loads((tmp_path / "json").read_text())
    speed = record["speed"]["beam 2"]
    assert [turn["setting"]["batch_tokens"] for turn in speed["sweep"]["mtx fp32"]] == [100, 64]
    tokens = sum(translation.num_tokens for translation in expected)
    assert [(turn["sentences"], turn["tokens"]) for turn in speed["turns"]["mtx fp32"]] == [(6, tokens)] * 2
    assert len(record["latency"]["beam 2"]["mtx fp32, 1 thread"]) == 3


def test_tables() -> None:
    def turns(*seconds: float) -> list[dict[str, float]]:
        return [{"seconds": each, "sentences": 100, "tokens": 1000} for each in seconds]

    table = decode.speed_table(
        5,
        {"mtx fp32": turns(1, 2, 4), "CTranslate2 int8": turns(0.5, 2, 5)},
        {"mtx fp32": {"batch_tokens": 64}, "CTranslate2 int8": {"workers": 2, "threads": 1}},
        {"mtx fp32": 30.0, "CTranslate2 int8": 29.75},
    )
    assert table.splitlines()[2:] == [
        "| mtx fp32 | batch tokens 64 | 50 (25..100) | 500 | 30.00 | +0.00 | 1.00 (0.50..1.25) |",
        "| CTranslate2 int8 | workers 2, threads 1 | 50 (20..200) | 500 | 29.75 | -0.25 | 1.00 (1.00..1.00) |",
    ]
    assert decode.median_and_p99([float(n) for n in range(1, 201)]) == "100.5 / 198.0"


def test_weights_of_other_runtimes(trained: TrainedModel, model_folder: Path) -> None:
    table = sinusoids(512, 16)[trained.model.src_input.first_row :].numpy()
    np.testing.assert_allclose(positions(1, 16)[: len(table)], table, rtol=0, atol=1e-6)
    tensors = read_folder(model_folder)[1]
    names = {to_m2m100_name(name) for name in tensors}
    assert len(names) == len(tensors)
    assert "model.decoder.layers.1.encoder_attn.q_proj.weight" in names
    assert "model.encoder.layers.0.final_layer_norm.bias" in names
    decode = trained.generation.decode
    assert longest_output(read_decoding(model_folder), 9) == decode.max_length_factor * 10 + decode.max_length_extra
