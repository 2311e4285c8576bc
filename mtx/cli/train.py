"""`mtx train`."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mtx.cli.options import RUNS
from mtx.cli.reporting import first_rank_speaks, reported
from mtx.cli.streams import path_text, print_line
from mtx.distributed.environment import is_launched


class Resume(StrEnum):
    """Whether a run that is there already is continued."""

    auto = "auto"
    never = "never"


@reported
def train(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings, such as train.lr=1e-3.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="YAML file; default: the embedded demo.", readable=False)
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option("--run-dir", help="Default: runs/ and the config's name.", readable=False)
    ] = None,
    resume: Annotated[Resume, typer.Option(help="Continue a run that is there, or refuse to.")] = Resume.auto,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Check config and data, say what one device would do, write nothing but the cache."
        ),
    ] = False,
    allow_data_change: Annotated[
        bool, typer.Option("--allow-data-change", help="Continue a run although its training data has changed.")
    ] = False,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = None,
    devices: Annotated[
        int, typer.Option("--devices", min=1, max=1024, help="GPUs, or processes on a CPU, that train together.")
    ] = 1,
) -> None:
    """Train a tokenizer and a Transformer; prints the model folder.

    \b
    mtx train                                  the embedded demo, some minutes on a CPU
    mtx train --config my.yaml                 your data; the same command continues a stopped run
    mtx train --config my.yaml train.lr=5e-4   with another setting
    mtx train --config my.yaml --devices 4     on four GPUs; on several machines: see mtx/distributed/README.md
    """
    from mtx.config.load import load_config

    overridden = [*(overrides or []), *([f"train.device={device}"] if device is not None else [])]
    with first_rank_speaks():
        settings = load_config(config, overridden)
        folder = run_dir or RUNS / (config.stem if config is not None else "demo")

        if devices > 1 and not is_launched():
            from mtx.distributed.launch import check_devices, run_ranks

            check_devices(devices, settings.train.device)
            if not dry_run:
                run_ranks(devices, sys.argv[sys.argv.index("train") + 1 :])
                return

        from mtx.distributed.process_group import join_group
        from mtx.system.logs import log_nowhere, log_to_stderr
        from mtx.train.trainer import train as run_training

        with join_group() as group:
            (log_to_stderr if group.is_rank0 else log_nowhere)()
            model = run_training(
                settings,
                folder,
                resume=resume.value,
                dry_run=dry_run,
                allow_data_change=allow_data_change,
                group=group,
            )
        if group.is_rank0 and not dry_run:
            print_line(path_text(model))
