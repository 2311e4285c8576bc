"""Data of the training benchmark, written in the formats that the contestants read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtx.config.load import dump_config
from mtx.config.settings import Config
from mtx.data.batching import part_batches
from mtx.data.mixing import Mixture
from mtx.data.prepared.corpus import Corpus, Ids, Rows
from mtx.data.prepared.prepare import prepare
from mtx.system.device import choose_device
from mtx.text.tokenizer import Tokenizer
from mtx.train.flops import step_flops
from mtx.train.setup import make_tokenizer

NEVER = 1_000_000


def write_work(config: Config, folder: Path) -> float:
    """Write the training job of `config`; return its FLOPs per target token.

    - `config.yaml` and `spm.model`, for mtx
    - `work.json` and `pairs.npz`, for hand-written loops: settings, ids, and the batches that mtx plans
    - `train.src`, `train.tgt` and `dict.txt`, for fairseq: ids written as words, since pieces may contain spaces
    """
    tokenizer = make_tokenizer(config)
    if not tokenizer.is_joint:
        raise SystemExit("bench: the peers tie all embeddings, and this config does not. Set tokenizer.joint to true.")
    corpus = prepare(config.data.train, config.data, config.clean, tokenizer)
    lengths = corpus.src.lengths, corpus.tgt.lengths
    settings = config.train
    order = Mixture.of(corpus, config.data.train, config.data.temperature).order(settings.seed, epoch=0)
    plan = part_batches(order, *lengths, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=0, part=0)

    (folder / "spm.model").write_bytes(tokenizer.files["spm.model"])
    (folder / "config.yaml").write_text(dump_config(_endless(config, folder / "spm.model")), encoding="utf-8")
    _write_plain(folder, config, tokenizer, corpus, plan)
    _write_words(folder, tokenizer, corpus)

    num_flops = num_tokens = 0
    for rows in plan:
        num_src, num_tgt = (int(side[rows].sum()) + len(rows) for side in lengths)
        num_flops += step_flops(config.model, tokenizer.tgt_vocab_size, num_src, num_tgt, len(rows))
        num_tokens += num_tgt
    return num_flops / num_tokens


def _endless(config: Config, tokenizer_file: Path) -> Config:
    """Make the job endless, and switch off everything that only mtx does between steps."""
    never = {"max_steps": NEVER, "eval_every": NEVER, "save_every": NEVER, "accumulate": 1}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"dev": None}),
            "tokenizer": config.tokenizer.model_copy(update={"file": tokenizer_file}),
            "train": config.train.model_copy(update=never),
        }
    )


def _write_plain(folder: Path, config: Config, tokenizer: Tokenizer, corpus: Corpus, plan: list[Rows]) -> None:
    facts = {
        "model": config.model.model_dump(),
        "train": config.train.model_dump(),
        "device": choose_device(config.train.device).type,
        "vocab_size": tokenizer.tgt_vocab_size,
        "max_length": int(max(corpus.src.lengths.max(), corpus.tgt.lengths.max())) + 1,
        "pad_id": tokenizer.pad_id,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
    }
    (folder / "work.json").write_text(json.dumps(facts), encoding="utf-8")
    arrays = {"src": list(_sentences(corpus.src)), "tgt": list(_sentences(corpus.tgt)), "batches": plan}
    named = {}
    for name, parts in arrays.items():
        named[f"{name}_flat"] = np.concatenate(parts).astype(np.int64)
        named[f"{name}_offsets"] = np.cumsum([0, *map(len, parts)])
    np.savez(folder / "pairs.npz", **named)


def _sentences(ids: Ids) -> Iterator[NDArray[Any]]:
    return (ids[row] for row in range(len(ids)))


def _write_words(folder: Path, tokenizer: Tokenizer, corpus: Corpus) -> None:
    for name, ids in (("src", corpus.src), ("tgt", corpus.tgt)):
        lines = (" ".join(map(str, sentence)) + "\n" for sentence in _sentences(ids))
        (folder / f"train.{name}").write_text("".join(lines), encoding="utf-8")
    special = {tokenizer.pad_id, tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id}  # fairseq adds its own four
    words = [str(number) for number in range(tokenizer.tgt_vocab_size) if number not in special]
    (folder / "dict.txt").write_text("".join(f"{word} 1\n" for word in words), encoding="utf-8")
