"""Image and bird's-eye-view backbones."""

from aqr_core.models.backbones.resnet import ResNet
from aqr_core.models.backbones.second import SECOND
from aqr_core.models.backbones.vovnet import VoVNet

__all__ = ["SECOND", "ResNet", "VoVNet"]
