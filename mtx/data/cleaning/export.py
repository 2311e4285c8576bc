"""Export of the cleaned corpus: the pairs that the rules keep, and those that they drop with the reason."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import BinaryIO, NamedTuple

import numpy as np

from mtx.config.settings import Config
from mtx.data.cleaning.clean import Cleaner, format_kept, read_cleaners
from mtx.data.cleaning.hashes import Hashes, HashSet64, pair_hashes
from mtx.data.sources.base import Pair, as_read
from mtx.data.sources.read import Chunk, expand_folders, in_chunks, read_pairs, reader
from mtx.data.sources.text import as_line
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import parallel_map

DROPPED_FILE = "dropped.jsonl"


class Kind(NamedTuple):
    """Settings of a source that all pairs of a file share."""

    tag: str | None
    weight: float
    languages: tuple[str, str]


def export_cleaned(config: Config, new_file: Callable[[str], BinaryIO]) -> str:
    """Write the training pairs into files that `new_file` creates, given their names; return the counts in one line.

    `train.SRC` and `train.TGT` have the pairs that are kept, repaired if the config says so. If sources differ in tag,
    weight or languages, there are two files for each combination: `train-1.SRC` and so on. `dropped.jsonl` has the
    other pairs as they were read, one object a line with `source`, `line` (from 1), `reason`, `src` and `tgt`. Pairs
    with too many tokens are not among them, because that depends on the tokenizer.

    Memory grows by 8 bytes for each pair that is kept, or not at all if duplicates are.

    Raises:
        UserError: a source can't be read, or no pair is kept (DATA); a package that a rule needs is missing (MACHINE).
        OSError: the files can't be written.
    """
    data, clean = config.data, config.clean
    sources = expand_folders(data.train, data.src_lang, data.tgt_lang)
    kinds = [Kind(source.tag, source.weight, data.languages_of(source)) for source in sources]
    files, dropped_file = _new_files(kinds, new_file), new_file(DROPPED_FILE)
    cleaners, seen, dropped, num_read = read_cleaners(data, clean, sources), HashSet64(), Counter[str](), 0
    for source, kind, cleaner in zip(sources, kinds, cleaners, strict=True):
        line, work = 0, partial(_clean, cleaner, clean.duplicates, source.tag)
        pairs = read_pairs(source, data.src_lang, data.tgt_lang, data.on_bad_row)
        for chunk, (cleaned, reasons, hashes) in parallel_map(in_chunks(pairs), work):
            if len(hashes):
                kept = np.flatnonzero([reason is None for reason in reasons])
                for index in kept[~seen.add(hashes)]:
                    reasons[index] = "duplicate"
            for (src, tgt), pair, reason in zip(map(as_read, chunk.pairs), cleaned, reasons, strict=True):
                line += 1
                if reason is None:
                    for file, text in zip(files[kind], pair, strict=True):
                        file.write(f"{as_line(text)}\n".encode())
                else:
                    dropped[reason] += 1
                    record = {"source": reader(source).label, "line": line, "reason": reason, "src": src, "tgt": tgt}
                    dropped_file.write(f"{json.dumps(record, ensure_ascii=False)}\n".encode())
        num_read += line
    if dropped.total() == num_read:
        what, where = f"no pair is kept among {num_read:,}", ", ".join(reader(source).label for source in sources)
        raise UserError(ExitCode.DATA, what, where=where, do="See why with mtx data check.")
    return format_kept(num_read, dropped)


def _new_files(kinds: Sequence[Kind], new_file: Callable[[str], BinaryIO]) -> dict[Kind, list[BinaryIO]]:
    """Create the two files of each kind, numbered if there are several."""
    files, num_kinds = dict[Kind, list[BinaryIO]](), len(set(kinds))
    for number, kind in enumerate(dict.fromkeys(kinds), start=1):
        sides = kind.languages if len(set(kind.languages)) == 2 else ("src", "tgt")
        files[kind] = [new_file(f"train-{number}.{side}" if num_kinds > 1 else f"train.{side}") for side in sides]
    return files


def _clean(
    cleaner: Cleaner, duplicates: str, tag: str | None, chunk: Chunk
) -> tuple[list[Pair], list[str | None], Hashes]:
    """Repair the pairs of a chunk; return also the reasons to drop them, and hashes of those that are kept."""
    pairs, reasons = cleaner.clean(chunk.pairs)
    kept = [pair for pair, reason in zip(pairs, reasons, strict=True) if reason is None]
    return pairs, reasons, pair_hashes(kept, duplicates, tag)
