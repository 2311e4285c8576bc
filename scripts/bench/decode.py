"""Decoding speed, BLEU, latency and start-up of mtx and other runtimes with the same weights, in turns.

    python -m scripts.bench.decode --model runs/my --src test.en --ref test.de > decode.md

CTranslate2 and transformers' `generate` run in `.peers/base`, which `scripts/bench/environments` makes; a missing
runtime is left out. All contestants translate from text to text, tokenisation included. Each first tries its settings
twice; the best one takes part in a warm-up round and in the rounds that count. Tables go to stdout, progress to stderr.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sacrebleu

from mtx.checkpoint.model_folder import find_model
from mtx.cli.options import RUNS
from mtx.data.sources.text import read_lines
from scripts.bench.contest import ROOT, Field, Turn, Worker, markdown_table, rates, ratios, say, spread, started
from scripts.bench.decoders import (
    BATCH_TOKENS,
    BATCHES,
    Decoder,
    Setting,
    Work,
    ctranslate2_decoders,
    generate_decoder,
    mtx_decoders,
    refusals,
)

REFERENCES = ("CTranslate2 float32", "CTranslate2 int8")
WARM_UP = 32
"""Sentences to translate before anything is timed."""
SECONDS_TO_SETTLE = 0.3
"""Pause before each turn, since threads of the previous contestant spin for up to 0.2 s after their work."""
BLOCK = 50
"""Sentences per turn when they are translated one at a time."""


def main() -> None:
    """Run the contests and print their tables."""
    options = parse()
    src, ref = read_texts(options)
    record: dict[str, Any] = {"options": {name: str(value) for name, value in vars(options).items()}}
    with TemporaryDirectory(prefix="bench-decode-") as folder:
        source = Path(folder, "source.txt")
        source.write_text("".join(f"{line}\n" for line in src), encoding="utf-8")
        work = Work(find_model(options.model, RUNS), source, Path(folder), options.device)
        refused = dict(refusals(work, options.only, options.precision))
        print(
            f"{len(src)} sentences, {options.threads} threads; median (minimum..maximum) of {options.rounds} rounds\n"
        )
        if options.rounds:
            record["speed"] = contest_speed(options, work, ref, refused)
        if options.latency:
            record["latency"] = contest_latency(options, work, min(options.latency, len(src)), refused)
        if options.cold:
            record["cold"] = contest_cold(options, work)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, help="model or run folder; default: the newest under ./runs")
    add("--src", type=Path, required=True, help="source sentences, one per line; may be packed")
    add("--ref", type=Path, required=True, help="reference translations")
    add("--sentences", type=int, metavar="N", help="use only the first N")
    add("--beams", type=int, nargs="+", default=[5, 1], help="beam sizes; 1 is greedy search; default: 5 1")
    add("--rounds", type=int, default=3, help="rounds that count; 0 skips the contest of speed")
    add("--latency", type=int, default=200, metavar="N", help="sentences to translate one at a time; 0 skips")
    add("--cold", type=int, default=5, metavar="N", help="cold starts; 0 skips")
    add("--precision", nargs="+", default=["fp32", "bf16", "int8"], help="precisions of mtx")
    add(
        "--batch-tokens",
        type=int,
        nargs="+",
        default=list(BATCH_TOKENS),
        help="values to try with mtx; the best counts",
    )
    add(
        "--batches",
        type=int,
        nargs="+",
        default=list(BATCHES),
        help="batch sizes to try with the peers, in sentences; the best counts",
    )
    add("--only", nargs="+", default=["mtx", "ctranslate2", "generate"], choices=["mtx", "ctranslate2", "generate"])
    add("--threads", type=int, default=2)
    add("--device", default="cpu", help="cpu or cuda")
    add("--python", nargs="+", default=[], metavar="NAME=PATH", help="another Python for base")
    add("--json", type=Path, metavar="FILE", help="write all measurements")
    return parser.parse_args()


def read_texts(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Read source sentences and references."""
    src, ref = (list(read_lines(path))[: options.sentences] for path in (options.src, options.ref))
    if len(src) != len(ref):
        raise SystemExit(f"bench: {len(src)} sentences in {options.src}, but {len(ref)} in {options.ref}")
    return src, ref


def lineup(options: argparse.Namespace, work: Work, threads: int, refused: Mapping[str, str]) -> list[Decoder]:
    """List the chosen contestants that can take part, each with `threads` threads."""
    pythons = dict(given.split("=", 1) for given in options.python)
    base = Path(pythons.get("base", ROOT / ".peers/base/bin/python"))
    everybody = {
        "mtx": mtx_decoders(work, options.precision, options.batch_tokens, threads),
        "ctranslate2": ctranslate2_decoders(work, base, options.batches, threads),
        "generate": [generate_decoder(work, base, options.batches, threads)],
    }
    asked = [decoder for library in options.only for decoder in everybody[library]]
    return [decoder for decoder in asked if decoder.contestant.name not in refused]


# --- speed -----------------------------------------------------------------------------------------------------------


def contest_speed(
    options: argparse.Namespace, work: Work, ref: Sequence[str], refused: Mapping[str, str]
) -> dict[str, Any]:
    """Translate all sentences at once; print a table for each beam."""
    decoders = lineup(options, work, options.threads, refused)
    settings = {decoder.contestant.name: decoder.settings for decoder in decoders}
    record = {}
    with started([decoder.contestant for decoder in decoders], work.folder) as field:
        for beam in options.beams:
            sweep = {w.name: [try_setting(w, beam, s, len(ref)) for s in settings[w.name]] for w in field.workers}
            best = {name: min(turns, key=lambda turn: turn["seconds"])["setting"] for name, turns in sweep.items()}
            turns: dict[str, list[Turn]] = {worker.name: [] for worker in field.workers}
            for number in range(options.rounds + 1):
                for worker in field.workers:
                    turn = take_turn(worker, request(beam, best[worker.name], 0, len(ref)))
                    if number:  # round 0 is a warm-up after the sweep
                        turns[worker.name].append(turn)
                    say(f"beam {beam}, round {number}/{options.rounds}: {seconds(worker, turn)}")
            bleu = {name: bleu_of(turns[name][-1]["texts"], ref) for name in turns}
            print(speed_table(beam, turns, best, bleu), *left_out_lines(field, refused), sep="\n", end="\n\n")
            record[f"beam {beam}"] = {"sweep": without_texts(sweep), "turns": without_texts(turns), "bleu": bleu}
    return record


def request(beam: int, setting: Setting, first: int, count: int) -> dict[str, Any]:
    """Build the request to translate `count` sentences from `first` on."""
    return {"beam": beam, "setting": setting, "first": first, "count": count}


def take_turn(worker: Worker, what: Mapping[str, Any]) -> Turn:
    """Wait until the machine is idle, then take one turn."""
    time.sleep(SECONDS_TO_SETTLE)
    return worker.turn(what)


def try_setting(worker: Worker, beam: int, setting: Setting, count: int) -> Turn:
    """Return the faster of two turns, after a short warm-up."""
    worker.turn(request(beam, setting, 0, min(WARM_UP, count)))
    turns = [take_turn(worker, request(beam, setting, 0, count)) for _ in range(2)]
    turn = {**min(turns, key=lambda turn: turn["seconds"]), "setting": setting}
    say(f"beam {beam}, {in_words(setting)}: {seconds(worker, turn)}")
    return turn


def bleu_of(texts: Sequence[str], ref: Sequence[str]) -> float:
    """Score detokenised text with sacreBLEU's defaults."""
    return float(sacrebleu.corpus_bleu(texts, [ref]).score)


def speed_table(
    beam: int, turns: Mapping[str, Sequence[Turn]], best: Mapping[str, Setting], bleu: Mapping[str, float]
) -> str:
    """Format rates, BLEU, and ratios to the reference contestants, round by round."""
    rows = []
    for name, its_turns in turns.items():
        sentences = rates(its_turns, "sentences")
        row = {
            beam_name(beam): name,
            "setting": in_words(best[name]),
            "sentences/s": spread(sentences, ".0f"),
            "tokens/s": f"{statistics.median(rates(its_turns, 'tokens')):,.0f}",
            "BLEU": f"{bleu[name]:.2f}",
            "to mtx fp32": f"{bleu[name] - bleu['mtx fp32']:+.2f}" if "mtx fp32" in bleu else "",
        }
        for reference in REFERENCES:
            if reference in turns:
                row[f"× {reference}"] = spread(ratios(sentences, rates(turns[reference], "sentences")), ".2f")
        rows.append(row)
    return markdown_table(rows)


# --- latency ---------------------------------------------------------------------------------------------------------


def contest_latency(options: argparse.Namespace, work: Work, count: int, refused: Mapping[str, str]) -> dict[str, Any]:
    """Translate the first `count` sentences one at a time, on one thread and on all; print a table."""
    contestants, single = [], {}
    for threads in sorted({1, options.threads}):
        for decoder in lineup(options, work, threads, refused):
            name = f"{decoder.contestant.name}, {threads} thread{'s' * (threads > 1)}"
            contestants.append(replace(decoder.contestant, name=name))
            single[name] = decoder.single
    times: dict[str, dict[str, list[float]]] = {}
    with started(contestants, work.folder) as field:
        for beam in options.beams:
            milliseconds: dict[str, list[float]] = {worker.name: [] for worker in field.workers}
            for worker in field.workers:
                worker.turn({**request(beam, single[worker.name], 0, WARM_UP), "singly": True})
            for first in range(0, count, BLOCK):
                for worker in field.workers:
                    block = request(beam, single[worker.name], first, min(BLOCK, count - first))
                    turn = take_turn(worker, {**block, "singly": True})
                    milliseconds[worker.name] += turn["milliseconds"]
                    say(f"beam {beam}, one at a time from {first}: {seconds(worker, turn)}")
            times[beam_name(beam)] = milliseconds
        print(latency_table(times, count), *left_out_lines(field, refused), sep="\n", end="\n\n")
    return times


def latency_table(times: Mapping[str, Mapping[str, Sequence[float]]], count: int) -> str:
    """Format median and 99th percentile of each contestant for each beam."""
    head = f"one sentence at a time, {count} sentences; ms: median / p99"
    names = next(iter(times.values()))
    return markdown_table(
        [{head: name, **{beam: median_and_p99(of[name]) for beam, of in times.items()}} for name in names]
    )


def median_and_p99(times: Sequence[float]) -> str:
    """Format median and 99th percentile with one decimal."""
    return f"{statistics.median(times):.1f} / {sorted(times)[math.ceil(0.99 * len(times)) - 1]:.1f}"


# --- cold start ------------------------------------------------------------------------------------------------------


def contest_cold(options: argparse.Namespace, work: Work) -> dict[str, list[float]]:
    """Time `mtx translate` from a cold start beside the import of torch, in turns after a warm-up; print a table."""
    translate = ["-m", "mtx", "translate", "--model", str(work.model), "--device", work.device, "A dog runs."]
    commands = {"mtx translate": translate, "import torch": ["-c", "import torch"]}
    wall: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(options.cold + 1):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            if number:
                wall[name].append(time.perf_counter() - start)
        say(f"cold start {number}/{options.cold}")
    wall["difference"] = [a - b for a, b in zip(wall["mtx translate"], wall["import torch"], strict=True)]
    head = f"cold start, {options.cold} times"
    print(markdown_table([{head: name, "seconds": spread(each, ".2f")} for name, each in wall.items()]))
    return wall


# --- format -----------------------------------------------------------------------------------------------------------


def beam_name(beam: int) -> str:
    """Name a beam size; 1 is greedy."""
    return f"beam {beam}" if beam > 1 else "greedy"


def in_words(setting: Setting) -> str:
    """Format a setting, such as `batch tokens 8192`."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in setting.items())


def seconds(worker: Worker, turn: Turn) -> str:
    """Format the name and time of a turn."""
    return f"{worker.name} {turn['seconds']:.2f} s"


def left_out_lines(field: Field, refused: Mapping[str, str]) -> list[str]:
    """Return a line for each contestant missing from the table above."""
    lines = [f"left out: {name}: {why}" for name, why in refused.items()] + field.left_out_lines()
    return ["", *lines] if lines else []


def without_texts(turns: Mapping[str, Sequence[Turn]]) -> dict[str, list[Turn]]:
    """Drop the translations from turns, to keep the record small."""
    return {name: [{k: v for k, v in turn.items() if k != "texts"} for turn in each] for name, each in turns.items()}


if __name__ == "__main__":
    main()
