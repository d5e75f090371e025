"""The commands of docs/clusters.md and scripts/slurm, run on this machine as they stand there.

Only what names a cluster is replaced: how many GPUs a node has, its address, and ``srun`` itself.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from sampling_process import files_of, images_of, recorded
from saved_pipelines import save_tiny_dit

from dit_accel.sampling.ranks.shard import current_shard

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/clusters.md").read_text()
TASKS = 2
# srun's part in a job: the tasks, with the variables that tell them apart.
SRUN = f"""#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for ((task = 0; task < {TASKS}; task++)); do
  SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NTASKS={TASKS} "$@" & tasks+=($!)
done
for task in "${{tasks[@]}}"; do wait "$task" || code=$?; done
exit "${{code:-0}}"
"""


def documented(start: str) -> list[str]:
    """Commands of the document's shell blocks that begin like this."""
    blocks = re.findall(r"```sh\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith(start)]
    assert lines, f"docs/clusters.md has no command {start!r}"
    return lines


@pytest.fixture(scope="module")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_dit(tmp_path_factory.mktemp("tiny_dit"))


@pytest.fixture
def config(tiny_pipeline: Path, tmp_path: Path) -> Path:
    """Six images in blocks of two, to be made in ``run``."""
    config = tmp_path / "set.yaml"
    config.write_text(
        f"model: {tiny_pipeline}\nnum_inference_steps: 2\nnum_samples: 6\nbatch_size: 2\n"
        f"shard_size: 2\ndata: {{labels: uniform}}\noutput: {tmp_path / 'run'}\n"
    )
    return config


def run(commands: Sequence[Sequence[str]], path: Path, **variables: str) -> list[str]:
    """Run commands side by side, with the programs of ``path`` first; return what they said."""
    programs = os.pathsep.join([str(path), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": programs, **variables}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [
        subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) for command in commands
    ]
    try:
        said = [process.communicate(timeout=280)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(said)
    return said


def assert_complete(folder: Path, ranks: Sequence[int]) -> None:
    """Six images that decode, each recorded once, by processes that knew their ranks."""
    assert len(images_of(folder)) == len(files_of(folder)) == len(recorded(folder)) == 6
    manifests = sorted(path.name for path in (folder / "manifest").iterdir())
    assert manifests == [f"rank-{rank:03d}.jsonl" for rank in ranks]


def submitted(script: str, config: Path) -> list[str]:
    """What sbatch would run on a node, for the document's example of that script."""
    _, path, _, *arguments = shlex.split(documented(f"sbatch scripts/slurm/{script} ")[0])
    return ["bash", path, str(config), *arguments]


@pytest.mark.slow
def test_slurm_job(config: Path, tmp_path: Path) -> None:
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text(SRUN)
    srun.chmod(0o755)
    # The shell of a job is numbered as well, and is no rank.
    run([submitted("sample.sbatch", config)], srun.parent, SLURM_PROCID="0")
    assert_complete(tmp_path / "run", range(TASKS))


@pytest.mark.slow
def test_slurm_array(config: Path, tmp_path: Path) -> None:
    variables = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "2"}
    one_task = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}  # of this job of the array
    run([submitted("sample_array.sbatch", config)], tmp_path, **variables, **one_task)
    assert_complete(tmp_path / "run", [1])


def test_slurm_directives_are_read() -> None:
    # Slurm stops looking for them at the first command.
    for script in sorted((ROOT / "scripts/slurm").glob("*.sbatch")):
        lines = script.read_text().splitlines()
        first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
        directives = [line for line in lines if line.startswith("#SBATCH ")]
        assert directives and all(line in lines[:first] for line in directives)


@pytest.mark.slow
def test_torchrun_on_two_nodes(config: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    replaced = {
        "--nproc-per-node 8": "--nproc-per-node 1",
        "node0": "127.0.0.1",
        "29500": str(port),
        "CONFIG": str(config),
    }
    commands = [_replace(line, replaced) for line in documented("torchrun --nnodes ")]
    assert [command[command.index("--node-rank") + 1] for command in commands] == ["0", "1"]
    run(commands, tmp_path)
    assert_complete(tmp_path / "run", [0, 1])


def test_accelerate_numbers_its_processes(tmp_path: Path) -> None:
    script = tmp_path / "variables.py"
    script.write_text(
        "import os, pathlib\n"
        "names = ['RANK', 'WORLD_SIZE', 'LOCAL_RANK']\n"
        f"file = pathlib.Path({str(tmp_path)!r}, 'rank-' + os.environ['RANK'])\n"
        "file.write_text(' '.join(os.environ[name] for name in names))\n"
    )
    # --multi_gpu is what the launcher infers where it finds GPUs.
    replaced = {"--num_processes 8": "--multi_gpu --main_process_port 0 --num_processes 2"}
    replaced["scripts/sample.py CONFIG"] = str(script)
    run([_replace(documented("accelerate launch ")[0], replaced)], tmp_path)
    for rank in range(2):
        shard = current_shard(None, _variables((tmp_path / f"rank-{rank}").read_text()))
        assert (shard.rank, shard.world_size, shard.local_rank) == (rank, 2, rank)


def _variables(text: str) -> Mapping[str, str]:
    return dict(zip(["RANK", "WORLD_SIZE", "LOCAL_RANK"], text.split(), strict=True))


def _replace(line: str, replaced: Mapping[str, str]) -> list[str]:
    for old, new in replaced.items():
        assert old in line
        line = line.replace(old, new)
    return shlex.split(line)
