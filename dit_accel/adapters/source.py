"""Where an adapter is: a file, a folder, a shipped one's name, or a repository of the Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from dit_accel.errors import PlanError, Problem, mismatch
from dit_accel.reference_models import available
from dit_accel.resources import reference_model_folder

ADAPTER_FILE = "adapter.safetensors"
_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def find_adapter(source: str | Path) -> Path:
    """The file that `source` stands for; downloaded, if it is on the Hub and not here yet.

    Args:
        source: path of a file or of the folder that holds it; `MODEL/NAME` of one that ships with a
            reference model; or `OWNER/NAME` on the Hub, with `@REVISION` where one is meant.

    Raises:
        PlanError: it is none of these.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / ADAPTER_FILE
    if path.is_file():
        return path
    shipped = _shipped(str(source))
    if shipped is not None:
        return shipped
    # What is called like a shipped model's is never looked for at a stranger's.
    is_ours = str(source).partition("/")[0] in available()
    if _HUB.fullmatch(str(source)) and not str(source).startswith(".") and not is_ours:
        return _downloaded(str(source))
    expected = f"a file, a folder with {ADAPTER_FILE}, MODEL/NAME of a shipped one, or a Hub id"
    remedy = "correct the path, or write OWNER/NAME"
    raise PlanError(Problem("adapter", mismatch(str(source), expected, remedy)), source="plan")


def beside(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The document of a plan; the path of its adapter is taken from the plan's own folder."""
    named = document.get("adapter")
    if not isinstance(named, str) or not named or not (folder / named).exists():
        return document
    return {**document, "adapter": str(folder / named)}


def _shipped(name: str) -> Path | None:
    model, slash, adapter = name.partition("/")
    if not slash or not re.fullmatch(r"[\w-]+/[\w-]+", name):
        return None
    path = reference_model_folder(model) / "adapters" / adapter / ADAPTER_FILE
    return path if path.is_file() else None


def _downloaded(source: str) -> Path:
    name, _, revision = source.partition("@")
    try:
        # One file by its name, and safetensors alone: nothing that is downloaded is ever run.
        return Path(hf_hub_download(name, ADAPTER_FILE, revision=revision or None))
    except (OSError, ValueError) as error:  # huggingface_hub's own errors are among these
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        problem = mismatch(
            source,
            f"a path that exists, or a repository of the Hub that holds {ADAPTER_FILE}",
            f"it is no path here, and the Hub did not give it ({reason})",
        )
        raise PlanError(Problem("adapter", problem), source="plan") from None
