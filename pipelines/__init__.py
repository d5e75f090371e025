"""Drop-in diffusers pipelines: the stock classes plus a plan, per-sample noise and callbacks.

Each class here carries the *name* of the stock class it derives from. That is deliberate:
``save_pretrained`` writes the class name into ``model_index.json``, so a pipeline saved from here
still loads with plain diffusers, and ``isinstance(pipe, diffusers.DiTPipeline)`` stays true.
Tell them apart by import path::

    from dit_accel.pipelines import DiTPipeline

    pipe = DiTPipeline.from_pretrained("facebook/DiT-XL-2-256")
    images = pipe(class_labels=[207], plan="balanced").images

or without importing anything of ours by name::

    pipe = DiffusionPipeline.from_pretrained(
        "facebook/DiT-XL-2-256", custom_pipeline="/path/to/pipelines/dit.py", trust_remote_code=True
    )

``custom_pipeline`` wants exactly one pipeline class in the file, hence a file for each;
``pixart.py`` picks α or Σ from the checkpoint.
"""

from dit_accel.pipelines.dit import DiTPipeline
from dit_accel.pipelines.pixart_alpha import PixArtAlphaPipeline
from dit_accel.pipelines.pixart_sigma import PixArtSigmaPipeline

__all__ = ["DiTPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline"]
