"""Feature pyramids over the backbones."""

from aqr_core.models.necks.cp_fpn import CPFPN
from aqr_core.models.necks.second_fpn import SECONDFPN

__all__ = ["CPFPN", "SECONDFPN"]
