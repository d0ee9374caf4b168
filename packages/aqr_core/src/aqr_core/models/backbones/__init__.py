"""Image and bird's-eye-view backbones."""

from aqr_core.models.backbones.resnet import ResNet
from aqr_core.models.backbones.second import SECOND

__all__ = ["SECOND", "ResNet"]
