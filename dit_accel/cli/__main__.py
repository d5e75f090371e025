"""``python -m dit_accel.cli``, for ``torchrun -m``, which starts modules and not commands."""

from dit_accel.cli.app import main

main()
