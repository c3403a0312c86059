"""In place of ``coevolve train`` in a job: writes a finished run folder, or does as its seed says.

Seed 0 takes its time, seed 1 fails.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "services")]

from made_studies import make  # noqa: E402

from contracts.loading import dump_config, load_config  # noqa: E402

config = load_config(Path("coevolve-run.yaml"))
with (config.runs_dir.parent / "started.txt").open("a") as file:
    file.write(f"{config.name}\n")
if config.seed == 1:
    sys.exit("error: out of luck")
if config.seed == 0:
    time.sleep(20)
make(config.folder, dump_config(config), seed=config.seed)
