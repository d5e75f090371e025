"""An adapter's folder as a repository of the Hugging Face Hub."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from huggingface_hub import HfApi

from dit_accel.adapters.adapter import Adapter
from dit_accel.adapters.storage import load_adapter, save_adapter


def push_to_hub(
    adapter: Adapter | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Upload an adapter with its plan and its model card; the repository is made if need be.

    Args:
        adapter: or where it is, as `load_adapter` takes it. A folder is uploaded as it is, with the
            card that lies in it and whatever pictures that shows.
        repo_id: `OWNER/NAME`.
        private: whether a new repository is.
        token: of the Hub; the one that `hf auth login` keeps, by default.

    Returns:
        The address of the upload.

    Raises:
        PlanError: there is no adapter.
    """
    loaded = adapter if isinstance(adapter, Adapter) else load_adapter(adapter)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as made:
        if isinstance(adapter, Adapter) or not Path(adapter).is_dir():
            save_adapter(loaded, made, source=repo_id)
            folder = Path(made)
        else:
            folder = Path(adapter)
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder))
