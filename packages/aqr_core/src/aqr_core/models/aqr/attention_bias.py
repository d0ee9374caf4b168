"""AQR v3: query weights become a bias of the cross-attention logits; features stay untouched."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.backends import check_backend, choose_backend
from aqr_core.models.aqr.bias_rule import BiasRule
from aqr_core.models.aqr.dense_attention import DenseBias
from aqr_core.models.aqr.flex_attention import FlexBias, biased_score
from aqr_core.models.aqr.global_bias import ModalityBias
from aqr_core.models.aqr.projection import QueryCells
from aqr_core.models.aqr.window_attention import WindowBias
from aqr_core.models.aqr.windows import WindowTable, build_windows, check_views, check_window_edges
from aqr_core.models.head.attention import AttentionBias
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS

LARGEST_BIAS = 5.0


@MODELS.register_module()
class AttentionBiasGenerator(nn.Module):
    """Bias `scale * weight * g` on the tokens in a query's windows, 0 elsewhere (docs/aqr.md).

    Args:
        window_size: window edge in cells; one number, or `[camera, lidar]`.
        bias_scale: initial scale.
        learnable_scale: the scale is a parameter, else a buffer.
        min_scale, max_scale: interval of the scale; the bias is clamped to +-min(5, max_scale).
        use_local_bias: False gives the bias to the whole modality; then there are no windows, and no backend is needed.
        use_gaussian_window: g falls off as exp(-d^2 / 2 sigma^2) with the distance d in cells, else g = 1.
        gaussian_sigma: that sigma.
        fp16: a materialised bias is stored in half precision when queries are; everything before is float32.
        attention_backend: 'auto', 'dense', 'window' or 'flex': how the attention is computed, not what comes out.
        views: 'all' or 'first' of the cameras that see a query.
    """

    def __init__(
        self,
        *,
        window_size: int | Sequence[int] = 8,
        bias_scale: float = 2.5,
        learnable_scale: bool = True,
        min_scale: float = 0.5,
        max_scale: float = 5.0,
        use_local_bias: bool = True,
        use_gaussian_window: bool = False,
        gaussian_sigma: float = 2.0,
        fp16: bool = True,
        attention_backend: str = "auto",
        views: str = "all",
    ) -> None:
        super().__init__()
        if not (0 <= min_scale <= max_scale < math.inf and max_scale > 0):
            raise ConfigError(
                f"min_scale {min_scale} and max_scale {max_scale} must satisfy 0 <= min_scale <= max_scale, and "
                "max_scale be above 0 and finite."
            )
        if not min_scale <= bias_scale <= max_scale:
            raise ConfigError(
                f"bias_scale is {bias_scale}; it must lie in [min_scale, max_scale] = [{min_scale}, {max_scale}]."
            )
        if use_gaussian_window and not use_local_bias:
            raise ConfigError(
                "use_gaussian_window is True with use_local_bias=False, a bias without windows; set one of the two."
            )
        if not 0 < gaussian_sigma < math.inf:
            raise ConfigError(f"gaussian_sigma is {gaussian_sigma}; it must be above 0 cells.")
        self.window_size = check_window_edges("window_size", window_size)
        self.views = check_views(views)
        self.min_scale = min_scale
        self.max_scale = max_scale
        self.use_local_bias = use_local_bias
        self.use_gaussian_window = use_gaussian_window
        self.gaussian_sigma = gaussian_sigma
        self.fp16 = fp16
        self.attention_backend = check_backend(attention_backend)
        initial = torch.tensor([float(bias_scale)])  # one entry, no scalar: neither DeepSpeed nor FSDP2 shards scalars
        if learnable_scale:
            self.bias_scale = nn.Parameter(initial)
        else:
            self.register_buffer("bias_scale", initial)

    @property
    def scale(self) -> Tensor:
        """() scale in use."""
        return self.bias_scale.squeeze(0).clamp(self.min_scale, self.max_scale)

    @torch.no_grad()
    def clamp_scale_(self) -> None:
        """Put the parameter back into its interval, to be called after every optimiser step.

        Outside the interval the clamp in `scale` would have no gradient, and the parameter could never come back.
        """
        self.bias_scale.clamp_(self.min_scale, self.max_scale)

    @property
    def rule(self) -> BiasRule:
        """The windows, and the bias in them."""
        sigma = self.gaussian_sigma if self.use_gaussian_window else None
        return BiasRule(self.window_size, self.views, sigma, limit=min(LARGEST_BIAS, self.max_scale))

    def forward(self, weights: Tensor, cells: QueryCells) -> AttentionBias:
        """(B, Q, 2) weights and where the queries are -> bias of the cross-attention logits.

        All that the layers share is made here, once and outside of what a layer may recompute.
        """
        strength = self.scale * at_least_float32(weights)  # (B, Q, 2)
        rule, num_tokens = self.rule, cells.shapes.num_tokens
        if not self.use_local_bias:
            bias = ModalityBias(strength.clamp(-rule.limit, rule.limit), cells.shapes.num_bev, num_tokens)
            return DenseBias(bias.dense, self.fp16) if self.attention_backend == "dense" else bias
        window = sum(edge**2 for edge in rule.edges)
        backend = choose_backend(self.attention_backend, strength.device, strength.dtype, window, num_tokens)
        if backend == "flex" and not (torch.is_grad_enabled() and strength.requires_grad):
            return FlexBias(biased_score(strength, cells, rule), gradient=None)
        windows = build_windows(cells, rule.edges, rule.views)
        value = window_values(strength, windows, rule)
        if backend == "dense":
            return DenseBias.of_windows(windows, value, num_tokens, self.fp16)
        by_pairs = WindowBias(windows, value)
        return FlexBias(biased_score(strength, cells, rule), by_pairs) if backend == "flex" else by_pairs


def window_values(strength: Tensor, windows: WindowTable, rule: BiasRule) -> Tensor:
    """(B, Q, 2) strengths -> (P,) bias of the valid slots of the windows."""
    per_slot = torch.where(windows.is_camera, strength[..., 1:], strength[..., :1])  # (B, Q, W)
    return rule.value(per_slot, windows.distance_sq).flatten().index_select(0, windows.slot)
