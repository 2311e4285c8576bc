"""mtx through its real training loop, log lines included, split into turns.

usage: mtx_train.py WORK_FOLDER --precision bf16
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from scripts.bench.worker import Turnstile, claim_stdout


def main() -> None:
    """Train in turns."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    options = parser.parse_args()
    claim_stdout()

    from mtx.config.load import load_config
    from mtx.system.device import use_threads
    from mtx.system.logs import log_to_stderr
    from mtx.train import trainer

    trainer_names: Any = trainer
    step = trainer_names.train_step
    turnstile = Turnstile({"threads": use_threads()})

    def counted_step(state: Any, loss_fn: Any, batches: Any, *others: Any) -> Any:
        turnstile.count(sum(batch.num_tokens for batch in batches))
        stats = step(state, loss_fn, batches, *others)
        turnstile.close_step()
        return stats

    trainer_names.train_step = counted_step
    log_to_stderr()
    config = load_config(options.folder / "config.yaml", [f"train.precision={options.precision}"])
    run_dir = Path(tempfile.mkdtemp(dir=options.folder, prefix=f"run-{options.precision}-"))
    trainer.train(config, run_dir)


if __name__ == "__main__":
    main()
