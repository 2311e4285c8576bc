"""The cleaned corpus as files: what the rules keep, and what they drop with the reason."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from mtx.config.settings import Config
from mtx.data.cleaning import build_cleaner, text_fault
from mtx.data.corpus import Pair, read_pairs, source_name
from mtx.data.duplicates import Seen
from mtx.data.found import expand
from mtx.data.held_out import read_held_out
from mtx.errors import ExitCode, UserError, machine_error

PAIRS_AT_ONCE = 10_000


def write_cleaned(config: Config, folder: Path) -> list[Path]:
    """Write `train.SRC`, `train.TGT` and `dropped.jsonl` into the new folder; the paths.

    Raises:
        UserError: the folder holds something already (RUN_FOLDER); a source can't be read (DATA); the disk is full, or
            can't be written (MACHINE).
    """
    data = config.data
    paths = [folder / f"train.{data.src_lang}", folder / f"train.{data.tgt_lang}", folder / "dropped.jsonl"]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        do = "Give another --output."
        raise UserError(ExitCode.RUN_FOLDER, "the folder is not empty", where=str(folder), do=do)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            src_file, tgt_file, dropped_file = (
                stack.enter_context(path.open("x", encoding="utf-8", newline="\n")) for path in paths
            )
            for name, line, (src, tgt), reason in _verdicts(config):
                if reason is None:
                    src_file.write(_on_a_line(src))
                    tgt_file.write(_on_a_line(tgt))
                else:
                    record = {"source": name, "line": line, "reason": reason, "src": src, "tgt": tgt}
                    dropped_file.write(json.dumps(record, ensure_ascii=False) + "\n")
    except OSError as error:
        raise machine_error(error, "cannot write the cleaned corpus", folder) from error
    return paths


def _verdicts(config: Config) -> Iterator[tuple[str, int, Pair, str | None]]:
    """Each training pair with its source and line, counted from 1, and why it is dropped, if it is."""
    data, clean = config.data, config.clean
    cleaner = build_cleaner(clean, data.src_lang, data.tgt_lang)
    held_out = read_held_out(data, clean, cleaner)
    seen = Seen()
    for source in expand(data.train, data.src_lang, data.tgt_lang):
        pairs = map(cleaner.repaired, read_pairs(source, data.src_lang, data.tgt_lang))
        line = 0
        while group := list(islice(pairs, PAIRS_AT_ONCE)):
            reasons = [text_fault(pair) or held_out.fault(pair) or cleaner.fault(pair) for pair in group]
            whole = [number for number, reason in enumerate(reasons) if reason is None]
            are_new = seen.add_pairs([group[number] for number in whole], clean.duplicates, source.tag)
            for number, is_new in zip(whole, are_new, strict=True):
                reasons[number] = None if is_new else "duplicate"
            for pair, reason in zip(group, reasons, strict=True):
                line += 1
                yield source_name(source), line, pair, reason


def _on_a_line(text: str) -> str:
    return text.replace("\n", " ").removesuffix("\r") + "\n"
