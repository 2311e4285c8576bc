"""Plain training loop, as one writes it around a library's model: batches, label-smoothed loss, Adam, schedule."""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.bench.worker import Turnstile

Ids = tuple[np.ndarray, np.ndarray]
Forward = Callable[[Tensor, Tensor], Tensor]
"""Maps padded source ids (B, S) and target ids that begin with the start symbol (B, T) to logits (B, T, V)."""


@dataclass(frozen=True)
class Work:
    """Training job, read from the folder that `training_data` wrote."""

    model: dict[str, Any]
    train: dict[str, Any]
    device: str
    vocab_size: int
    max_length: int
    pad_id: int
    bos_id: int
    eos_id: int


def run(build: Callable[[Work], tuple[nn.Module, Forward]]) -> None:
    """Train the model of `build` in turns; command line: `SCRIPT WORK_FOLDER --precision fp32`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    work = Work(**json.loads((options.folder / "work.json").read_text()))
    torch.manual_seed(work.train["seed"])
    model, forward = build(work)
    model.to(work.device).train()
    turnstile = Turnstile({"torch": torch.__version__, "threads": torch.get_num_threads()})
    turnstile.watch_optimizers()
    train(work, model, forward, batches(work, options.folder), turnstile, is_bf16=options.precision == "bf16")


def train(
    work: Work,
    model: nn.Module,
    forward: Forward,
    stream: Iterator[tuple[Tensor, Tensor, int]],
    turnstile: Turnstile,
    *,
    is_bf16: bool,
) -> None:
    """Train step after step, until the turnstile ends the process."""
    settings = work.train
    betas = settings["adam_beta1"], settings["adam_beta2"]
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["lr"], betas=betas, eps=settings["adam_eps"])
    warmup = max(settings["warmup_steps"], 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: min((done + 1) / warmup, (warmup / (done + 1)) ** 0.5)
    )
    for src, tgt, num_tokens in stream:
        turnstile.count(num_tokens)
        src_ids, tgt_out = src.to(work.device), tgt.to(work.device)
        tgt_in = torch.cat([torch.full_like(tgt_out[:, :1], work.bos_id), tgt_out[:, :-1]], dim=1)
        with torch.autocast(work.device, torch.bfloat16, enabled=is_bf16):
            logits = forward(src_ids, tgt_in)
        loss = F.cross_entropy(
            logits.float().view(-1, work.vocab_size),
            tgt_out.reshape(-1),
            ignore_index=work.pad_id,
            label_smoothing=settings["label_smoothing"],
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), settings["clip_norm"])
        optimizer.step()
        schedule.step()


def batches(work: Work, folder: Path) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Repeat the batches that mtx plans for its first epoch: source, target, number of target tokens."""
    arrays = np.load(folder / "pairs.npz")
    src, tgt, plan = ((arrays[f"{name}_flat"], arrays[f"{name}_offsets"]) for name in ("src", "tgt", "batches"))
    while True:
        for number in range(len(plan[1]) - 1):
            rows = _at(plan, number).tolist()
            targets = [_at(tgt, row) for row in rows]
            num_tokens = sum(map(len, targets)) + len(rows)
            yield _pad(work, [_at(src, row) for row in rows]), _pad(work, targets), num_tokens


def _at(ids: Ids, number: int) -> np.ndarray:
    flat, offsets = ids
    return flat[offsets[number] : offsets[number + 1]]


def _pad(work: Work, sentences: list[np.ndarray]) -> Tensor:
    """Append the end symbol to each sentence and pad. Shapes: (B, longest + 1)."""
    ended = [torch.from_numpy(np.append(sentence, work.eos_id).astype(np.int64)) for sentence in sentences]
    return nn.utils.rnn.pad_sequence(ended, batch_first=True, padding_value=work.pad_id)
