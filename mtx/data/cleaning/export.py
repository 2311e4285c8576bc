"""The cleaned corpus: what the rules keep of each training source, and what they drop with the reason."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from mtx.config.settings import Config
from mtx.config.sources import Source
from mtx.data.cleaning.duplicates import Hashes, Seen, pair_hashes
from mtx.data.cleaning.held_out import HeldOutTexts, pair_fault, read_held_out
from mtx.data.cleaning.rules import Cleaner, build_cleaner, kept_in_words
from mtx.data.sources.base import Pair
from mtx.data.sources.chunks import Chunk, in_chunks
from mtx.data.sources.read import expand_folders, read_pairs, reader
from mtx.data.sources.text import as_line
from mtx.errors import ExitCode, UserError
from mtx.system.parallel import parallel_map

DROPPED = "dropped.jsonl"


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of the pairs."""

    num_read: int
    dropped: dict[str, int]
    """How many pairs were dropped, by the first reason that there is."""

    def summary(self) -> str:
        """One line, such as `kept 28,988 of 29,000 pairs: dropped 9 empty, 3 duplicate`."""
        return kept_in_words(self.num_read, self.dropped)


def write_cleaned(config: Config, new_file: Callable[[str], BinaryIO]) -> Cleaned:
    """Write the training pairs into files that `new_file` makes, given their names.

    `train.SRC` and `train.TGT` have the pairs that are kept, repaired if the config says so; where sources differ in
    their tag or weight there are two files for each of these, `train-1.SRC` and so on. `dropped.jsonl` has the others,
    as they were read: one object a line, of `source`, `line` (from 1), `reason`, `src` and `tgt`. Pairs that are too
    long are not among them: that is told in tokens.

    Memory grows by 8 bytes for each pair that is kept, none where duplicates are.

    Raises:
        UserError: a source can't be read, or no pair is kept (DATA); what a rule needs is not installed (MACHINE).
        OSError: the files can't be written.
    """
    data, clean = config.data, config.clean
    sources = expand_folders(data.train, data.src_lang, data.tgt_lang)
    kinds = list(dict.fromkeys((source.tag, source.weight) for source in sources))
    names = [f"train-{number}" if len(kinds) > 1 else "train" for number in range(1, len(kinds) + 1)]
    endings = (data.src_lang, data.tgt_lang) if data.src_lang != data.tgt_lang else ("src", "tgt")
    files = [[new_file(f"{name}.{ending}") for ending in endings] for name in names]
    dropped_file = new_file(DROPPED)
    cleaner = build_cleaner(clean, data.src_lang, data.tgt_lang)
    held_out = read_held_out(data, clean, cleaner)
    seen, dropped, num_read = Seen(), Counter[str](), 0
    for source in sources:
        line = 0
        judge = _Judge(cleaner, held_out, clean.duplicates, source.tag)
        pairs = read_pairs(source, data.src_lang, data.tgt_lang)
        for group, judged in parallel_map(in_chunks(pairs), judge):
            reasons = list(judged.reasons)
            kept = [place for place, reason in enumerate(reasons) if reason is None]
            if judged.hashes is not None:
                is_new = seen.add(judged.hashes[kept])
                for place in np.array(kept, np.int64)[~is_new].tolist():
                    reasons[place] = "duplicate"
            for as_it_was, pair, reason in zip(group.pairs, judged.pairs, reasons, strict=True):
                line += 1
                if reason is None:
                    for file, text in zip(files[kinds.index((source.tag, source.weight))], pair, strict=True):
                        file.write(f"{as_line(text)}\n".encode())
                else:
                    dropped[reason] += 1
                    dropped_file.write(_record(source, line, reason, as_it_was).encode())
        num_read += line
    cleaned = Cleaned(num_read, dict(dropped))
    if sum(dropped.values()) == num_read:
        what, where = f"no pair is kept among {num_read:,}", ", ".join(reader(source).label for source in sources)
        raise UserError(ExitCode.DATA, what, where=where, do="See why with mtx data check.")
    return cleaned


@dataclass(frozen=True, slots=True)
class _Judged:
    """A group of pairs, mended if that is asked for, and why each is dropped, duplicates aside."""

    pairs: Sequence[Pair]
    reasons: Sequence[str | None]
    hashes: Hashes | None


@dataclass(frozen=True, slots=True)
class _Judge:
    """What the rules say of a group, in any process."""

    cleaner: Cleaner
    held_out: HeldOutTexts
    duplicates: str
    tag: str | None

    def __call__(self, group: Chunk) -> _Judged:
        pairs = [self.cleaner.repaired(pair) for pair in group.pairs]
        reasons = [pair_fault(pair, self.held_out, self.cleaner) for pair in pairs]
        return _Judged(pairs, reasons, pair_hashes(pairs, self.duplicates, self.tag))


def _record(source: Source, line: int, reason: str, pair: Pair) -> str:
    record = {"source": reader(source).label, "line": line, "reason": reason, "src": pair[0], "tgt": pair[1]}
    return json.dumps(record, ensure_ascii=False) + "\n"
