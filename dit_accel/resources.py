"""Where the files that travel with the package are: in a wheel and in a checkout alike."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def config_folder(name: str = "") -> Path:
    """Folder ``configs/<name>``: inside the package when installed, beside it in a checkout.

    The wheel maps the top-level ``configs`` folder to ``dit_accel/configs``; a checkout on the
    Python path, or an editable install, still has it where it was written.
    """
    installed = _PACKAGE / "configs"
    root = installed if installed.is_dir() else _PACKAGE.parent / "configs"
    return root / name


def reference_model_folder(name: str) -> Path:
    """Folder of a pipeline that ships with the package, such as ``dit-photos``."""
    return _PACKAGE / "reference_models" / name
