"""`mtx train`: train a tokenizer and a model."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mtx.cli.options import RUNS, ConfigOption, Overrides, path_option
from mtx.cli.reporting import only_rank0_reports
from mtx.cli.streams import path_text, print_line
from mtx.distributed.launch import is_launched


def train(
    overrides: Overrides = None,
    config: ConfigOption = None,
    run_dir: Annotated[Path | None, path_option("Run folder; default: runs/NAME, for a config NAME.yaml.")] = None,
    resume: Annotated[Literal["auto", "never"], typer.Option(help="Continue an existing run, or refuse to.")] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and print the plan; writes only the data cache.")
    ] = False,
    allow_data_change: Annotated[
        bool, typer.Option("--allow-data-change", help="Continue a run even if its training data has changed.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
    devices: Annotated[int, typer.Option(min=1, max=1024, help="Number of GPUs, or of processes on a CPU.")] = 1,
) -> None:
    """Train a tokenizer and a Transformer. Prints the path of the model folder.

    \b
    mtx train                                  the built-in demo, some minutes on a CPU
    mtx train --config my.yaml                 your data; run it again to continue a stopped run
    mtx train --config my.yaml train.lr=5e-4   with a changed setting
    mtx train --config my.yaml --devices 4     on four GPUs; several machines: mtx/distributed/README.md
    """
    from mtx.config.load import load_config

    overridden = [*(overrides or []), *([f"train.device={device}"] if device is not None else [])]
    with only_rank0_reports():
        settings = load_config(config, overridden)
        folder = run_dir or RUNS / (config.stem if config is not None else "demo")

        if devices > 1 and not is_launched():
            from mtx.distributed.launch import check_devices, run_ranks

            check_devices(devices, settings.train.device)
            if not dry_run:
                run_ranks(devices, sys.argv[sys.argv.index("train") + 1 :])
                return

        from mtx.distributed.process_group import join_group
        from mtx.system.logs import LOGGER, log_to_stderr
        from mtx.train.estimate import estimate_run
        from mtx.train.run_folder import RunFolder
        from mtx.train.trainer import train as run_training
        from mtx.train.trainer import train_beside_rank0

        with join_group() as group:
            if group.is_rank0:
                log_to_stderr()
            else:
                LOGGER.disabled = True  # rank 0 reports
                train_beside_rank0(settings, folder, allow_data_change=allow_data_change, group=group)
                return
            run = RunFolder(folder.absolute())
            run.check_continuable(settings, resume)
            if (num_steps := run.finished_steps()) >= settings.train.max_steps:
                LOGGER.info("already finished at step %s", f"{num_steps:,}")
                if not dry_run:
                    run.update_finished(settings)
            elif dry_run:
                estimate_run(settings, run, group)
            else:
                run_training(settings, folder, resume=resume, allow_data_change=allow_data_change, group=group)
        if not dry_run:
            print_line(path_text(run.model))
