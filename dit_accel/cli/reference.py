"""``dit-accel reference``: what scores need to know of a real set, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def reference(
    data: Annotated[
        str, typer.Argument(help="Folder of pictures, ADM .npz, run, or 'photos' (built in).")
    ],
    output: Annotated[Path, typer.Option(help="File to write, .npz.")],
    extractor: Annotated[
        str, typer.Option(help="Network that looks: ref, inception-tf, inception-clean, …")
    ] = "ref",
    num: Annotated[int | None, typer.Option(min=2, help="Only the first so many pictures.")] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Centre-crop and resize pictures of a folder, as ADM does."),
    ] = None,
    features: Annotated[
        bool,
        typer.Option("--features/--no-features", help="Keep rows: KID, CMMD and PRDC need them."),
    ] = True,
    extractor_weights: Annotated[
        Path | None, typer.Option(help="Weights file, or a folder that holds it.")
    ] = None,
) -> None:
    """Compute the features of a real set once, for all the runs that are compared with it.

    The file names the extractor, its weights' hash and resize rule, and the data; scores made with
    another extractor are refused.
    """
    from dit_accel.extractors.registry import check_extractor_name, load_extractor
    from dit_accel.sampling.loading import default_device
    from dit_accel.scoring.opening import open_image_set
    from dit_accel.scoring.reference import check_reference_path, make_reference

    check_extractor_name(extractor)
    check_reference_path(output)
    images = open_image_set(data, num=num, size=size)
    network = load_extractor(extractor, weights=extractor_weights, device=default_device())
    made = make_reference(images, network, output, with_rows=features)
    text = f"{output}: {made.count:,} pictures of {images.name}, extractor {extractor}"
    Console().print(text, highlight=False, soft_wrap=True)
