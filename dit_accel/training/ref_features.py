"""Trains the ``ref`` feature network: photograph, layout and damage from 64 features.

The decorrelating terms are those of VICReg (Bardes et al. 2022, equations 1 to 3): they keep the
covariance of the features, which a Frechet distance takes roots of, well conditioned.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from dit_accel.extractors.ref import (
    CENTRE_SPREAD,
    DEGRADATION_SPREAD,
    MODEL_FILE,
    SIDE_SPREAD,
    RefArchitecture,
    RefNetwork,
    save_network,
)

from .degradations import DEGRADATIONS
from .loop import Trainer
from .photos import PHOTOS, CropSource, load_photos
from .ref_bank import CropBank, RefBatch
from .ref_config import RefConfig, RefLossConfig
from .ref_heads import all_features, head_scores
from .streams import Stream


def build_network(config: RefConfig) -> RefNetwork:
    """A network of the recipe's shape, freshly initialised from its seed."""
    torch.manual_seed(config.seed)
    shape = config.network
    return RefNetwork(
        RefArchitecture(
            size=config.data.crop_size,
            channels=shape.channels,
            features=shape.features,
            grid=shape.grid,
            grid_channels=shape.grid_channels,
            hidden=shape.hidden,
            photographs=len(PHOTOS),
            degradations=len(DEGRADATIONS),
        )
    )


def ref_loss(
    features: Tensor, heads: dict[str, Tensor], batch: RefBatch, weights: RefLossConfig
) -> Tensor:
    """Weighted sum of all terms for features ``[B, D]`` and what the heads made of them."""
    centre = (heads["centre"] - batch.layout[:, :2]) / CENTRE_SPREAD
    side = (heads["side"] - batch.layout[:, 2]) / SIDE_SPREAD
    layout = torch.cat([centre, side[:, None]], 1)
    degradation = (heads["degradation"] - batch.degradation) / DEGRADATION_SPREAD
    spread, correlation = vicreg(features)
    return (
        F.cross_entropy(heads["photograph"], batch.photograph)
        + weights.layout * F.smooth_l1_loss(layout, torch.zeros_like(layout), beta=0.2)
        + weights.mirrored * F.binary_cross_entropy_with_logits(heads["mirrored"], batch.mirrored)
        + weights.degradation * degradation.square().mean()
        + weights.variance * spread
        + weights.covariance * correlation
    )


def vicreg(features: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and covariance terms of ``[B, D]`` features."""
    centred = features - features.mean(0)
    covariance = centred.T @ centred / (len(features) - 1)
    spread = F.relu(1 - (covariance.diagonal() + 1e-4).sqrt()).mean()
    off_diagonal = covariance - covariance.diagonal().diag()
    return spread, off_diagonal.square().sum() / features.shape[1]


class RefStage:
    """Trains the network; leaves ``model.safetensors``. One process only."""

    def __init__(self, config: RefConfig, accelerator: Accelerator) -> None:
        self.config = config
        self.accelerator = accelerator
        self.folder = config.output
        size = config.data.crop_size
        self.bank = CropBank(self._crops(Stream.REF_FEATURES), config.bank_crops, size)
        self.held_out = self._crops(Stream.HELD_OUT)
        network = build_network(config).to(memory_format=torch.channels_last)
        self.trainer = Trainer(network, config.loop, self.folder, accelerator)
        # The unwrapped one: its heads are not a forward pass that Accelerate knows of.
        self.network: RefNetwork = accelerator.unwrap_model(self.trainer.model)

    def run(self) -> None:
        """Train to the end, standardise the features on crops and their mirror images, and save."""
        self.trainer.run(self.loss, self.preview)
        network = build_network(self.config)
        network.load_state_dict(self.network.state_dict())
        both = [self.bank.clean, self.bank.clean.flip(-1)]
        features = torch.cat([all_features(network.eval(), pictures) for pictures in both])
        network.standardise(features.mean(0), features.std(0))
        save_network(network, self.folder / MODEL_FILE)

    def loss(self, step: int) -> Tensor:
        """All terms on the batch of one step."""
        config = self.config
        batch = self.bank.batch(step, config.batch_size, config.degraded_share)
        batch = batch.to(self.accelerator.device)
        pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
        with self.accelerator.autocast():
            features = self.trainer.model(pixels)
        features = features.float()
        return ref_loss(features, self.network.heads(features), batch, config.loss)

    def preview(self, step: int) -> dict[str, float]:
        """What the heads get right on the fixed, undamaged held-out crops."""
        count = self.config.data.held_out_per_class * len(PHOTOS)
        return head_scores(self.network, self.held_out, count)

    def _crops(self, stream: Stream) -> CropSource:
        return CropSource(load_photos(), (self.config.seed, stream), self.config.data.scale)
