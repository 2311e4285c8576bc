"""Lets tests import what lies in `scripts/`, as the scripts themselves do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
