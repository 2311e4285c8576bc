"""The test sets that `mtx evaluate` scores: given files, sets that sacreBLEU has stored, or those of a model's run."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mtx.cli.reporting import command_line_error
from mtx.cli.streams import input_lines, input_name, refuse_overwriting
from mtx.errors import ExitCode, UserError, escape_controls
from mtx.judge.test_set import TestSet

if TYPE_CHECKING:
    from mtx.config.settings import DataSettings
    from mtx.judge.training import Seen


def given_test_sets(
    hyps: Sequence[Path], srcs: Sequence[Path], refs: Sequence[Path], tag: str | None, tgt_lang: str | None
) -> list[TestSet]:
    """Read the test sets of `--hyp`, `--src` and `--ref`: the first references belong to the first set.

    Raises:
        UserError: their numbers do not match (USAGE); their numbers of lines differ, or one cannot be read (DATA).
    """
    firsts = hyps or srcs
    if len(refs) % len(firsts) or (hyps and srcs and len(hyps) != len(srcs)):
        what = f"{len(firsts)} test sets, but {len(refs)} --ref" if len(refs) % len(firsts) else "unequal --hyp, --src"
        raise command_line_error(what, "Give each set as many references, and one file of sources.")
    num_refs, sets = len(refs) // len(firsts), []
    for number, first in enumerate(firsts):
        paths = [each[number] for each in (hyps, srcs) if each]
        paths += refs[number * num_refs : (number + 1) * num_refs]
        lines, *others = (list(chain.from_iterable(input_lines(path))) for path in paths)
        for path, other in zip(paths[1:], others, strict=True):
            if len(other) != len(lines):
                what = f"{input_name(first)} has {len(lines):,} lines, {input_name(path)} {len(other):,}"
                raise UserError(ExitCode.DATA, what, do="Give one reference per line.")
        sources = lines if not hyps else others.pop(0) if srcs else []
        sets.append(TestSet(input_name(first), sources, others, tag, tgt_lang, lines if hyps else None))
    return sets


def recorded_test_sets(
    folder: Path,
    outputs: Sequence[Path],
    tag: str | None,
    tgt_lang: str | None,
    role: Literal["test", "dev"] = "test",
) -> list[TestSet]:
    """Read the sets of this role in the config of the model's run; if there are several, those for `tag`, `tgt_lang`.

    Raises:
        UserError: there is none, or one of `outputs` is one of their files (USAGE); one cannot be read (DATA).
    """
    from mtx.data.sources.read import reader, relocated, usable_pairs
    from mtx.text.languages import is_same_language

    data = _recorded_data(folder)
    recorded_sets = () if data is None else data.test if role == "test" else data.dev
    if data is None or not recorded_sets:
        what, do = f"the run of this model has no {role} set", "Give --src FILE and --ref FILE."
        raise UserError(ExitCode.USAGE, what, where=str(folder), do=do)
    languages = {source: data.languages_of(source) for source in recorded_sets}
    chosen = [source for source in recorded_sets if tag in (None, source.tag)] or list(recorded_sets)
    if tgt_lang is not None and len(chosen) > 1:
        chosen = [source for source in chosen if is_same_language(tgt_lang, languages[source][1])]
        if not chosen:
            known = ", ".join(dict.fromkeys(language for _, language in languages.values()))
            do = f"Give one of {known}, or --src FILE and --ref FILE."
            raise UserError(ExitCode.USAGE, f"no {role} set of the run is in {tgt_lang}", where=str(folder), do=do)
    sets = []
    for recorded in chosen:
        source = relocated(recorded, folder.absolute().parent)
        if source != recorded:
            found = " and ".join(escape_controls(str(path)) for path in reader(source).files())
            print(f"mtx: the {role} set of the run was moved; found {found}", file=sys.stderr)
        for output in outputs:
            refuse_overwriting(output, reader(source).files())
        pairs = list(usable_pairs(source, data.src_lang, data.tgt_lang))
        sides = [src for src, _ in pairs], [[tgt for _, tgt in pairs]]
        src_lang, recorded_tgt = languages[recorded]
        name, language = reader(source).label, tgt_lang or recorded_tgt
        sets.append(TestSet(name, *sides, tag or source.tag, language, src_lang=src_lang))
    return sets


def refuse_test_set(folder: Path, given: Sequence[Path]) -> None:
    """Refuse files of the test sets of the model's run, which must not choose anything (USAGE)."""
    for path, other in product(recorded_files(folder, "test"), given):
        with suppress(OSError):  # one that is missing is no test set
            if os.path.samefile(path, other):
                do = "Tune on another set: its scores would mean nothing any more."
                raise command_line_error(f"{other} is the test set of the run", do)


def recorded_files(folder: Path, role: Literal["test", "dev"]) -> list[Path]:
    """Files of the sets of this role in the config of the model's run, without those that are missing."""
    from mtx.data.sources.read import reader, relocated

    data = _recorded_data(folder)
    sources = () if data is None else data.test if role == "test" else data.dev
    files: list[Path] = []
    for source in sources:
        with suppress(UserError):
            files += reader(relocated(source, folder.absolute().parent)).files()
    return files


def _recorded_data(folder: Path) -> "DataSettings | None":
    """Data of the run of the model in `folder`; None if it has none, such as a copied model."""
    from mtx.config.load import load_config

    path = folder.absolute().parent / "config.yaml"
    return load_config(path, []).data if os.path.isfile(path) else None


def stored_test_set(given: str, hypotheses: Path | None, tag: str | None) -> TestSet:
    """Read a set such as wmt17:en-de from the cache of the `sacrebleu` command; nothing is downloaded.

    Raises:
        UserError: there is no such set (USAGE); it is not in the cache, or has another number of lines (DATA).
    """
    from sacrebleu.dataset import DATASETS

    name, _, languages = given.partition(":")
    data = DATASETS.get(name)
    if data is None or languages not in data.langpairs:
        known = f"One of {', '.join(data.langpairs)}" if data is not None else "`sacrebleu --list` shows its sets"
        do = f"{known}; write NAME:SOURCE-TARGET, such as wmt17:en-de."
        raise UserError(ExitCode.USAGE, f"sacreBLEU has no test set {name}:{languages}", where="--test-set", do=do)
    # The first lists the references that sacreBLEU scores by default, where a set has several.
    chosen = getattr(data, "_get_langpair_allowed_refs", data.fieldnames)(languages)
    fields = ["src", *(field for field in chosen if field.startswith("ref"))]
    paths = [Path(data._get_txt_file_path(languages, field)) for field in fields]
    if not all(path.is_file() for path in paths):
        do = f"With a network, run: sacrebleu -t {name} -l {languages} --echo src ref > /dev/null"
        raise UserError(ExitCode.DATA, f"{name}:{languages} is not in sacreBLEU's cache", where="--test-set", do=do)
    sources, *references = (list(chain.from_iterable(input_lines(path))) for path in paths)
    translated = None if hypotheses is None else list(chain.from_iterable(input_lines(hypotheses)))
    if translated is not None and len(translated) != len(sources):
        what = f"{input_name(hypotheses)} has {len(translated):,} lines, {given} {len(sources):,}"
        raise UserError(ExitCode.DATA, what, do="Give one translation per line.")
    src_lang, _, tgt_lang = languages.partition("-")
    return TestSet(given, sources, references, tag, tgt_lang, translated, src_lang)


def look_up_in_run(sets: Sequence[TestSet], run: Path) -> "list[Seen] | list[None]":
    """Look up `sets` in the training data of a run. Say so if it is not there."""
    from mtx.judge.training import look_up, recorded_training_pairs

    try:
        return [*look_up(sets, recorded_training_pairs(run))]
    except UserError as error:
        reason, end, _ = str(error).partition("). ")  # without a remedy, which is none for this command
        print(f"mtx: no breakdown by rare words and overlap with training: {reason}{end[:1]}", file=sys.stderr)
        return [None] * len(sets)
