"""``dit-accel sample`` as a file, for launchers that want one::

    torchrun --nproc-per-node 8 scripts/sample.py configs/sample/dit_photos.yaml
    accelerate launch --num_processes 8 scripts/sample.py configs/sample/dit_photos.yaml
    srun --ntasks-per-node 8 --gpus-per-task 1 python scripts/sample.py CONFIG

The processes share a run folder and nothing else: no process group is started, a rank may end
early or be killed, and the same command, with any number of ranks, goes on with the set.
"""

from __future__ import annotations

import sys

from dit_accel.cli import app

if __name__ == "__main__":
    app(["sample", *sys.argv[1:]])
