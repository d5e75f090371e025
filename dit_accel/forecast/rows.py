"""Which batch rows belong to one sample.

Under batched classifier-free guidance, sample ``b`` of ``B`` owns the rows ``b, b + B, ...``. Its
rows decide together, and never with those of another sample.
"""

from torch import Tensor


def split_rows(figures: Tensor, rows_per_sample: int) -> Tensor:
    """Separate the rows of the samples, ``[R, ...] -> [rows_per_sample, B, ...]``.

    Raises:
        ValueError: ``rows_per_sample`` does not divide ``R``.
    """
    num_rows = figures.shape[0]
    if rows_per_sample < 1 or num_rows % rows_per_sample:
        raise ValueError(f"{num_rows} rows cannot be shared out by {rows_per_sample} rows a sample")
    return figures.reshape(rows_per_sample, num_rows // rows_per_sample, *figures.shape[1:])


def tokens_of_samples(figures: Tensor, rows_per_sample: int) -> Tensor:
    """List the tokens of all rows of each sample, ``[R, N] -> [B, rows_per_sample * N]``.

    Raises:
        ValueError: ``rows_per_sample`` does not divide ``R``.
    """
    return split_rows(figures, rows_per_sample).transpose(0, 1).flatten(1)
