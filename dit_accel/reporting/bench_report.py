"""A benchmark as JSON: every figure that the tables show, and what they are made from."""

from __future__ import annotations

from typing import Any

from dit_accel.measure.benchmark import Benchmark, Measurement
from dit_accel.measure.pareto import Point, pareto_front, quality_at


def bench_report(benchmark: Benchmark) -> dict[str, Any]:
    """JSON-serialisable form; ``rows`` in the order of the table, ``verdicts`` one a plan."""
    return {
        "provenance": benchmark.provenance,
        "settings": benchmark.settings.to_dict(),
        "conditions": benchmark.conditions,
        "solver_settings": benchmark.solver_settings,
        "text_encoder_seconds": benchmark.text_encoder_seconds,
        "rows": [_row(benchmark, row) for row in benchmark.rows],
        "verdicts": verdicts(benchmark),
    }


def _row(benchmark: Benchmark, row: Measurement) -> dict[str, Any]:
    candidate = row.candidate
    dense = benchmark.row(candidate.base)
    speed_up = dense.timing.median / row.timing.median
    mac_speed_up = dense.macs / row.macs
    images = benchmark.settings.num_images
    per_rank = [images / seconds for seconds in benchmark.rank_seconds[candidate.name]]
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "label": candidate.label,
        "solver": candidate.run.solver,
        "num_inference_steps": candidate.run.num_inference_steps,
        "compared_with": str(candidate.base),
        **row.timing.to_dict(),
        "images_per_second_per_device": sum(per_rank) / len(per_rank),
        "images_per_second_total": sum(per_rank),
        "autoencoder_seconds": row.decode_seconds,
        "peak_memory": row.memory.to_dict(),
        "macs": row.macs,
        "speed_up": speed_up,
        "mac_speed_up": mac_speed_up,
        "efficiency": speed_up / mac_speed_up,
        "to_dense": None if row.to_dense is None else row.to_dense.to_dict(),
        "to_converged": None if row.to_converged is None else row.to_converged.to_dict(),
    }


def verdicts(benchmark: Benchmark) -> list[dict[str, Any]]:
    """Whether each plan beats the best dense run of equal time, by PSNR to the converged run."""
    dense = [_point(row) for row in benchmark.rows if row.candidate.kind != "plan"]
    front = pareto_front(point for point in dense if point is not None)
    plans = [row for row in benchmark.rows if row.candidate.kind == "plan"]
    return [
        _verdict(row.candidate.name, point, front)
        for row in plans
        if (point := _point(row)) is not None
    ]


def _point(row: Measurement) -> Point | None:
    if row.to_converged is None:
        return None
    return Point(row.timing.median, row.to_converged.psnr_db)


def _verdict(name: str, point: Point, front: list[Point]) -> dict[str, Any]:
    dense = quality_at(front, point.seconds)
    return {
        "name": name,
        "median_s": point.seconds,
        "psnr_db": point.quality,
        "dense_psnr_db_at_equal_time": dense,
        "difference_db": None if dense is None else point.quality - dense,
        "beats_fewer_steps": None if dense is None else point.quality > dense,
    }
