"""Matrix rate of the machine, measured as one more contestant: products with the shapes of the training job.

usage: matrix_rate.py WORK_FOLDER PRECISION …
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from mtx.system.device import choose_device, choose_precision, use_threads
from mtx.train.flops import matrix_rate
from scripts.bench.worker import serve


def main() -> None:
    """Measure each precision at each turn."""
    work = json.loads((Path(sys.argv[1]) / "work.json").read_text())
    shape = work["train"]["batch_tokens"], work["model"]["d_model"], work["model"]["d_ff"]
    device = choose_device(work["device"])

    def turn(_request: Any) -> dict[str, float]:
        matrix_rate.cache_clear()
        return {name: matrix_rate(choose_precision(name, device), shape) for name in sys.argv[2:]}

    serve(turn, {"threads": use_threads(), "torch": torch.__version__})


if __name__ == "__main__":
    main()
