"""fairseq's own trainer, run through its command line.

usage: fairseq_train.py WORK_FOLDER --precision fp32
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from scripts.bench.worker import Turnstile, claim_stdout


def main() -> None:
    """Train in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=("fp32",), default="fp32")
    folder = parser.parse_args().folder
    claim_stdout()
    let_fairseq_import()

    import fairseq
    import torch
    from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
    from fairseq_cli import preprocess, train

    binary = folder / "fairseq"
    sys.argv = [
        "fairseq-preprocess", "--source-lang", "src", "--target-lang", "tgt", "--trainpref", str(folder / "train"),
        "--destdir", str(binary), "--joined-dictionary", "--srcdict", str(folder / "dict.txt"),
    ]  # fmt: skip
    preprocess.cli_main()

    turnstile = Turnstile({"fairseq": fairseq.__version__, "threads": torch.get_num_threads()})
    forward = LabelSmoothedCrossEntropyCriterion.forward

    def counted_forward(self: Any, model: Any, sample: Any, reduce: bool = True) -> Any:
        turnstile.count(sample["ntokens"])
        return forward(self, model, sample, reduce)

    LabelSmoothedCrossEntropyCriterion.forward = counted_forward
    turnstile.watch_optimizers()
    sys.argv = ["fairseq-train", str(binary), *arguments(json.loads((folder / "work.json").read_text()))]
    train.cli_main()


def arguments(work: dict[str, Any]) -> list[str]:
    """Build fairseq's arguments for `work`."""
    sizes, settings = work["model"], work["train"]
    options = {
        "arch": "transformer",
        "encoder-layers": sizes["encoder_layers"],
        "decoder-layers": sizes["decoder_layers"],
        "dropout": sizes["dropout"],
        "attention-dropout": sizes["attention_dropout"],
        "activation-dropout": sizes["activation_dropout"],
        "criterion": "label_smoothed_cross_entropy",
        "label-smoothing": settings["label_smoothing"],
        "optimizer": "adam",
        "adam-betas": f"({settings['adam_beta1']}, {settings['adam_beta2']})",
        "adam-eps": settings["adam_eps"],
        "lr": settings["lr"],
        "lr-scheduler": "inverse_sqrt",
        "warmup-updates": max(settings["warmup_steps"], 1),
        "clip-norm": settings["clip_norm"],
        "max-tokens": settings["batch_tokens"],
        "max-update": 1_000_000,
        "seed": settings["seed"],
        "num-workers": 0,
        "valid-subset": "train",  # required, though not used
        "log-interval": settings["log_every"],
    }
    for side in ("encoder", "decoder"):
        options[f"{side}-embed-dim"] = sizes["d_model"]
        options[f"{side}-ffn-embed-dim"] = sizes["d_ff"]
        options[f"{side}-attention-heads"] = sizes["num_heads"]
    flags = ["--share-all-embeddings", "--no-progress-bar", "--disable-validation", "--no-save"]
    if work["device"] == "cpu":
        flags.append("--cpu")
    return [*flags, *(text for name, value in options.items() for text in (f"--{name}", str(value)))]


def let_fairseq_import() -> None:
    """Restore features that fairseq 0.12.2 and hydra need and that later versions of Python and numpy removed."""
    import numpy as np

    make_field: Any = dataclasses._get_field  # type: ignore[attr-defined]

    def make_field_of_mutable(cls: type, name: str, *others: Any) -> Any:
        """Make defaults hashable: Python 3.11 rejects unhashable ones as mutable."""
        default = getattr(cls, name, None)
        if isinstance(default, dataclasses.Field):
            default = default.default
        kind = type(default)
        if default is not None and dataclasses.is_dataclass(kind) and kind.__hash__ is None:
            kind.__hash__ = object.__hash__
        return make_field(cls, name, *others)

    dataclasses._get_field = make_field_of_mutable  # type: ignore[attr-defined]
    for name, builtin in (("float", float), ("int", int), ("bool", bool), ("object", object)):
        if name not in np.__dict__:
            setattr(np, name, builtin)


if __name__ == "__main__":
    main()
