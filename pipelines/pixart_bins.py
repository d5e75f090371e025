"""Sizes that a PixArt transformer draws well, by aspect ratio: stock's tables, fitted to it."""

import math
from collections.abc import Mapping, Sequence

AspectRatioTables = Mapping[int, Mapping[str, Sequence[float]]]
AspectRatioBins = dict[str, tuple[int, int]]

# Stock's tables are in the pixels of an autoencoder that makes one latent of 8 x 8 pixels.
STOCK_FACTOR = 8


def aspect_ratio_bins(
    tables: AspectRatioTables, sample_size: int, factor: int, patch_size: int
) -> AspectRatioBins:
    """Height and width in pixels by aspect ratio, each with about the trained number of tokens.

    The stock table of the nearest ``sample_size``, scaled to this one and to the autoencoder. With
    an autoencoder of factor 8 and a ``sample_size`` that has a table, that is the stock table.

    Args:
        tables: the stock tables, by the ``sample_size`` (in latents) that they belong to.
        sample_size: side of the latents that the transformer was trained on.
        factor: pixels a latent, along one side.
        patch_size: latents a token, along one side; heights and widths are multiples of
            ``factor * patch_size``.

    Returns:
        ``{"0.25": (height, width), …}``, keyed like stock by height / width to two digits. Sizes
        whose ratios meet after rounding are one: the one nearest to the trained number of pixels.
    """
    nearest = min(tables, key=lambda size: abs(math.log(size / sample_size)))
    scale = sample_size / nearest * factor / STOCK_FACTOR
    unit = factor * patch_size
    trained_pixels = (sample_size * factor) ** 2
    sizes = {
        (_multiple(height * scale, unit), _multiple(width * scale, unit))
        for height, width in tables[nearest].values()
    }
    bins: AspectRatioBins = {}
    # The nearest last, since the last one of a ratio stays.
    for size in sorted(sizes, key=lambda size: (-abs(math.prod(size) - trained_pixels), size)):
        bins[str(round(size[0] / size[1], 2))] = size
    # In stock's order: a request halfway between two ratios goes to the first.
    return dict(sorted(bins.items(), key=lambda item: float(item[0])))


def _multiple(pixels: float, unit: int) -> int:
    return max(1, round(pixels / unit)) * unit
