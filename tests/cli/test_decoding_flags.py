"""A decoding option is declared once: its flag, range and help come from DecodeOptions."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mtx.cli.options import with_decode_flags
from mtx.config.decoding import DecodeOptions
from mtx.errors import ExitCode, UserError

FLAGS = {name: x for name, field in DecodeOptions.model_fields.items() for x in field.metadata if isinstance(x, str)}


def run(*arguments: str, omitted: tuple[str, ...] = ()) -> tuple[int, dict[str, object], str]:
    """The exit code, the options that the command was given, and the output."""
    seen: dict[str, object] = {}

    @with_decode_flags(*omitted)
    def command(given: dict[str, object], file: Path = Path("x")) -> None:
        seen.update(given, file=file)

    app = typer.Typer(add_completion=False)
    app.command()(command)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, seen, result.output


def test_a_command_gets_only_what_was_given() -> None:
    assert run() == (0, {"file": Path("x")}, "")
    code, seen, _ = run("--beam", "3", "--length-penalty", "0", "--tag", "2de", "--file", "y")
    assert (code, seen) == (0, {"beam_size": 3, "length_penalty": 0.0, "tag": "2de", "file": Path("y")})


def test_every_flag_is_in_the_help_unless_omitted() -> None:
    help_text = run("--help")[2]
    assert all(name in help_text for flag in FLAGS.values() for name in flag.split("/"))
    assert FLAGS["n_best"] not in run("--help", omitted=("n_best",))[2]


@pytest.mark.parametrize(
    "arguments", [("--beam", "0"), ("--beam", "1001"), ("--length-penalty", "-1"), ("--n-best", "x")]
)
def test_a_value_out_of_range_is_refused(arguments: tuple[str, str]) -> None:
    assert run(*arguments)[0] == 2


def test_what_is_not_given_comes_from_the_model() -> None:
    settings = DecodeOptions(beam_size=7, length_penalty=0.5)
    options = settings.with_options(beam_size=2, tag="2de")
    assert (options.beam_size, options.length_penalty, options.tag) == (2, 0.5, "2de")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("--temperature", "0.7"), "--temperature without --sample"),
        (("--seed", "0"), "--seed without --sample"),
        (("--ensemble", "probs"), "--ensemble without a second --model"),
        (("--samples", "3"), "--samples without --sample"),
        (("--sample", "--beam", "5"), "both --sample and --beam given"),
        (("--sample", "--n-best", "2"), "both --sample and --n-best given"),
        (("--sample", "--mbr", "4", "--samples", "2"), "both --mbr and --samples given"),
        (("--sample", "--beam-groups", "2"), "both --sample and --beam-groups given"),
        (("--sample", "--coverage-penalty", "1"), "both --sample and --coverage-penalty given"),
        (("--diversity-penalty", "1"), "--diversity-penalty without --beam-groups"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(arguments: tuple[str, ...], what: str) -> None:
    @with_decode_flags()
    def command(given: dict[str, object]) -> None:
        raise AssertionError(given)

    app = typer.Typer(add_completion=False)
    app.command()(command)
    error = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(error, UserError)
    assert (error.code, what in str(error)) == (ExitCode.USAGE, True)


def test_options_of_sampling_go_together() -> None:
    code, seen, _ = run("--sample", "--top-p", "0.9", "--samples", "2")
    assert (code, seen) == (0, {"sample": True, "top_p": 0.9, "samples": 2, "file": Path("x")})
