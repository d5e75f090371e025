"""A set made by processes that are killed over and over, then compared with one made in peace::

    python tests/chaos/chaos.py --images 2000 --processes 3 --seed 0

Ranks get SIGKILL at random moments and are started again; now and then all of them are killed, a
picture is cut short, a line of a manifest is cut in half, and another number of ranks goes on with
the set (in other batches too, with several ``--batch-sizes``). Prints what happened as JSON, and
exits with 1 if the set is not what it would have been.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # the modules that tests share

import numpy as np
import torch
from sampling_process import files_of, images_of, prepared_set, recorded, wait_until
from saved_pipelines import save_tiny_dit

from dit_accel.runs import RunFolder, read_manifest
from dit_accel.runs.manifest_reading import ManifestTail, parse_record
from dit_accel.sampling.preparing import PreparedSampling
from dit_accel.sampling.ranks.shard import Shard
from dit_accel.sampling.ranks.worker import open_run_folder, sample_set

# Forked, so that torch is imported once; safe as long as this process computes with one thread.
_FORK = multiprocessing.get_context("fork")
_BLOCK = 8
_PATIENCE = 200.0  # seconds without an image, after which something must hang


class Chaos:
    """Makes a set in spite of itself.

    Attributes:
        counts: what was done to it.
        cut_short: pictures that were damaged, once for each time, and have to be made again.
    """

    def __init__(self, arguments: argparse.Namespace, model: Path, output: Path) -> None:
        self._images, self._processes = arguments.images, arguments.processes
        self._batch_sizes, self._model, self._output = arguments.batch_sizes, model, output
        self._random = random.Random(arguments.seed)
        self.counts: Counter[str] = Counter()
        self.cut_short: list[int] = []

    def run(self) -> None:
        """Launch, kill, damage and resume until no image is missing."""
        while not self._launch():
            self._damage()

    def prepared(self, output: Path, batch_size: int) -> PreparedSampling:
        """The set; made in batches of one size its images are the same to the bit."""
        return prepared_set(
            self._model,
            output,
            num_samples=self._images,
            num_inference_steps=2,
            guidance_scale=1.0,
            batch_size=batch_size,
            shard_size=_BLOCK,
            deterministic=len(self._batch_sizes) == 1,
        )

    def _launch(self) -> bool:
        """Let ranks work and die for a while; True if they have come to their end by themselves."""
        world = self._random.randint(1, self._processes) if self.counts else self._processes
        prepared = self.prepared(self._output, self._random.choice(self._batch_sizes))
        tail = ManifestTail(open_run_folder(prepared))
        self.counts["launches"] += 1
        ranks = {rank: self._start(prepared, Shard(rank, world)) for rank in range(world)}
        end = tail.count() + self._random.randint(self._images // 20, self._images // 6)
        while (there := self._some_images_later(tail)) < min(end, self._images):
            rank = self._random.randrange(world)
            self._kill(ranks[rank])
            ranks[rank] = self._start(prepared, Shard(rank, world))
            self.counts["restarts"] += 1
        for process in ranks.values():
            if there < self._images:
                self._kill(process)
            process.join()
        return there == self._images and not self._failed(ranks)

    def _some_images_later(self, tail: ManifestTail) -> int:
        """How many images there are at a random moment from now on, soon or not so soon."""
        if self._random.random() < 0.8:
            more = self._random.randint(1, min(40, self._images // 20))
            wanted = min(tail.count() + more, self._images)
            wait_until(lambda: tail.count() >= wanted, _PATIENCE)
        time.sleep(self._random.uniform(0, 0.1))  # in the middle of anything, loading as well
        return tail.count()

    def _start(self, prepared: PreparedSampling, shard: Shard) -> BaseProcess:
        process = _FORK.Process(target=_sample, args=(prepared, shard), daemon=True)
        process.start()
        return process

    def _kill(self, process: BaseProcess) -> None:
        process.kill()
        process.join()
        self.counts["kills"] += process.exitcode != 0  # not one that had just ended

    def _failed(self, ranks: dict[int, BaseProcess]) -> bool:
        codes = {rank: process.exitcode for rank, process in ranks.items()}
        if any(codes.values()):
            raise SystemExit(f"ranks ended with {codes}; see what they said above")
        return False

    def _damage(self) -> None:
        """Cut a picture short, and the last line of a manifest in half."""
        folder = RunFolder.read(self._output)
        record = self._random.choice(list(read_manifest(folder).values()))
        picture = self._output / record.file
        _truncate(picture, self._random.randrange(picture.stat().st_size))
        self.cut_short.append(record.index)
        manifest = self._random.choice([p for p in folder.manifest.iterdir() if p.stat().st_size])
        last = manifest.read_bytes().splitlines(keepends=True)[-1]
        _truncate(manifest, manifest.stat().st_size - len(last) + len(last) // 2)
        self.counts["lines_cut"] += 1


def _sample(prepared: PreparedSampling, shard: Shard) -> None:
    sys.exit(sample_set(prepared, shard).exit_code)


def _truncate(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def faults(chaos: Chaos, output: Path, undisturbed: Path, exact: bool) -> list[str]:
    """What is wrong with the set; decodes every picture of both."""
    images, expected = images_of(output), images_of(undisturbed)  # raise on what does not decode
    records = [parse_record(line.encode()) for line in recorded(output)]
    lines = Counter(record.index for record in records if record is not None)
    made_again = Counter(chaos.cut_short)
    found = {
        "images are missing": expected.keys() - images.keys(),
        "files are not those of the undisturbed set": set(files_of(output))
        ^ set(files_of(undisturbed)),
        "images were recorded twice": {i for i in lines if lines[i] > 1 + made_again[i]},
        "temporary files are left": {p.name for p in output.rglob("*.tmp")},
        "images differ": {i for i in images if _differ(images[i], expected[i], exact)},
    }
    return [f"{len(items)} {fault}: {sorted(items)[:5]}" for fault, items in found.items() if items]


def _differ(image: np.ndarray, other: np.ndarray, exact: bool) -> bool:
    limit = 0 if exact else 1  # grey levels: another batch size rounds otherwise
    return bool(np.abs(image.astype(int) - other.astype(int)).max() > limit)


def main(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both sets, and what is to be said of them."""
    torch.set_num_threads(1)
    chaos = Chaos(arguments, save_tiny_dit(folder / "model"), folder / "run")
    exact, begin = len(arguments.batch_sizes) == 1, time.monotonic()
    chaos.run()
    disturbed = time.monotonic()
    sample_set(chaos.prepared(folder / "undisturbed", arguments.batch_sizes[0]), Shard())
    seconds = {"disturbed": disturbed - begin, "undisturbed": time.monotonic() - disturbed}
    return {
        "images": arguments.images,
        "processes": arguments.processes,
        "batch_sizes": arguments.batch_sizes,
        "seed": arguments.seed,
        **chaos.counts,
        "pictures_cut": len(chaos.cut_short),
        "compared": "SHA-256 of the pixels" if exact else "pixels, within 1 grey level",
        "seconds": {key: round(value, 1) for key, value in seconds.items()},
        "faults": faults(chaos, folder / "run", folder / "undisturbed", exact),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("::")[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8])
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="dit-accel-chaos-") as temporary:
        summary = main(_arguments(), Path(temporary))
    print(json.dumps(summary, indent=2))
    sys.exit(bool(summary["faults"]))
