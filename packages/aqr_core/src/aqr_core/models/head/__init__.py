"""The CMT head and its parts; importing registers them."""

from aqr_core.models.head.cmt_head import CmtHead, CmtImageHead, CmtLidarHead
from aqr_core.models.head.denoising import Denoising
from aqr_core.models.head.moad import MOADTransformer
from aqr_core.models.head.output import HeadOutput, Predictions
from aqr_core.models.head.router import RouterTransformer
from aqr_core.models.head.router_head import RouterHead
from aqr_core.models.head.router_output import RoutedOutput, RouterOutput
from aqr_core.models.head.task_heads import SeparateTaskHead
from aqr_core.models.head.transformer import CmtTransformer

__all__ = [
    "CmtHead",
    "CmtImageHead",
    "CmtLidarHead",
    "CmtTransformer",
    "Denoising",
    "HeadOutput",
    "MOADTransformer",
    "Predictions",
    "RoutedOutput",
    "RouterHead",
    "RouterOutput",
    "RouterTransformer",
    "SeparateTaskHead",
]
