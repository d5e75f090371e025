"""PixArt by ``custom_pipeline=``: α or Σ, whichever the checkpoint is.

In Python, import ``PixArtAlphaPipeline`` or ``PixArtSigmaPipeline`` from ``dit_accel.pipelines``.
"""

from typing import Any, ClassVar

from diffusers import AutoencoderKL, DiffusionPipeline, PixArtTransformer2DModel
from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import T5EncoderModel, T5Tokenizer

# Modules, not classes: diffusers wants exactly one pipeline class in a `custom_pipeline` file.
from dit_accel.pipelines import pixart_alpha, pixart_sigma

FAMILIES = {
    "PixArtAlphaPipeline": pixart_alpha.PixArtAlphaPipeline,
    "PixArtSigmaPipeline": pixart_sigma.PixArtSigmaPipeline,
}


class PixArtPipeline(DiffusionPipeline):
    """Makes a ``PixArtAlphaPipeline`` or ``PixArtSigmaPipeline``; never an instance of its own.

    The two can't be told apart by their components (their transformers may have equal configs),
    only by the class name in ``model_index.json``. ``DiffusionPipeline.from_pretrained`` shows
    that to ``extract_init_dict`` and then calls the class.
    """

    _optional_components: ClassVar = ["tokenizer", "text_encoder"]

    def __new__(cls, family: str, **components: Any) -> Any:
        """Build the pipeline of that family."""
        return FAMILIES[family](**components)

    def __init__(
        self,
        tokenizer: T5Tokenizer,
        text_encoder: T5EncoderModel,
        vae: AutoencoderKL,
        transformer: PixArtTransformer2DModel,
        scheduler: KarrasDiffusionSchedulers,
        family: str = "",
    ) -> None:
        # Read by from_pretrained for the names and types of the components; `__new__` returns
        # another class, so Python never calls it.
        raise TypeError("PixArtPipeline makes pipelines of other classes")

    @classmethod
    def extract_init_dict(
        cls, config_dict: dict[str, Any], **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Add the family to the components named in ``model_index.json``.

        Raises:
            ValueError: when the checkpoint is no PixArt pipeline.
        """
        family = config_dict.get("_class_name")
        if family not in FAMILIES:
            raise ValueError(
                f"The checkpoint is a {family}; pixart.py loads {' or '.join(FAMILIES)}."
            )
        init, unused, hidden = super().extract_init_dict(config_dict, **kwargs)
        return {**init, "family": family}, unused, hidden
