"""`mtx evaluate --tune`: find the search settings of a model on its dev sets, and store them in it."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mtx.cli.options import flag_of, load_models
from mtx.cli.reporting import command_line_error
from mtx.cli.streams import print_line
from mtx.errors import ExitCode, UserError, escape_controls

KEPT_OPTIONS = ("tag", "batch_tokens", "split", "copy_unlettered")  # Decoding options that --tune may have beside it


def refuse_beside_tune(others: Mapping[str, object], given: Collection[str]) -> None:
    """Refuse options that make no sense with --tune (USAGE): decoding options and `others`, by their names."""
    names = [name for name, value in others.items() if value]
    names += [f"{flag_of(name)}" for name in given if name not in KEPT_OPTIONS]
    if names:
        what = f"both --tune and {names[0]} given"
        raise command_line_error(what, f"Leave out {names[0]}: --tune finds beam and length penalty on the dev set.")


def tune_model(
    folder: Path,
    srcs: Sequence[Path],
    refs: Sequence[Path],
    given: Mapping[str, Any],
    tgt_lang: str | None,
    precision: str,
    device: str,
    *,
    as_json: bool,
) -> None:
    """Tune the model in `folder` on given dev sets or on those of its run, print a table, and store what is better.

    Raises:
        UserError: the folder can't be written (MACHINE); there is no dev set, or it is a test set of the run (USAGE).
    """
    from mtx.checkpoint.model_folder import set_decode
    from mtx.cli.systems import with_languages_of_model
    from mtx.cli.test_sets import given_test_sets, recorded_files, recorded_test_sets, refuse_test_set
    from mtx.decode.translator import Translator
    from mtx.judge.tuning import tune

    real = Path(os.path.realpath(folder))
    for written in (real, real.parent):
        if not os.access(written, os.W_OK):
            do = "Copy the model folder to another place."
            raise UserError(ExitCode.MACHINE, "cannot write into the folder", where=str(written), do=do)
    tag = given.get("tag")
    refuse_test_set(folder, [*srcs, *refs] or recorded_files(folder, "dev"))
    sets = (
        given_test_sets([], srcs, refs, tag, tgt_lang) if srcs else recorded_test_sets(folder, (), tag, tgt_lang, "dev")
    )
    (trained,), arithmetic = load_models(folder, precision, device)
    options = trained.generation.decode.with_options(**given)
    translator = Translator(trained, options, arithmetic)
    sets = [with_languages_of_model(each, translator, bool(srcs)) for each in sets]

    def tell(beam_size: int) -> None:
        print(f"mtx: searched with beam {beam_size}", file=sys.stderr)

    tuning = tune(trained, options, arithmetic, sets, str(folder), tell)
    print_line(tuning.to_json() if as_json else tuning.to_text())
    best, before = tuning.chosen, tuning.before
    if not tuning.is_better:
        is_own = "the model's own setting is within one standard error of the best"
        why = is_own if best == before else f"the gain may be chance ({tuning.gain})"
        print(f"mtx: nothing stored: {why}", file=sys.stderr)
        return
    found = {"beam_size": best.beam_size, "length_penalty": best.length_penalty}
    on = f"{escape_controls(' and '.join(tuning.sets))}, {tuning.num_sentences:,} sentences"
    scores = f"BLEU {best.bleu:.2f}, before {before.bleu:.2f}"
    reason = f"beam {best.beam_size} and length penalty {best.length_penalty:g} were chosen on {on}: {scores}."
    set_decode(folder, trained.generation.decode.model_copy(update=found), reason)
    print(f"mtx: stored in {folder}: {tuning.gain}", file=sys.stderr)
