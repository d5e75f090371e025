"""Model families: one file each says where a transformer's sites and tokens are."""

from dit_accel.backbones.backbone import Backbone, find_backbone

__all__ = ["Backbone", "find_backbone"]
