"""AQR v1 and v2: features times weight maps, in full (v1) or in part (v2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.interface import WeightMaps
from aqr_core.registry import MODELS

MODULATION_TYPES = ("element_wise", "channel_wise", "adaptive")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # of a map; each keeps 1 at 1, where nothing changes
    "none": lambda m: m,
    "sigmoid": lambda m: 2 * torch.sigmoid(m - 1),  # (0, 2)
    "tanh": lambda m: 1 + torch.tanh(m - 1),  # (0, 2)
    "relu": torch.relu,
}
SMALLEST_MEAN = 1e-6


@MODELS.register_module()
class FeatureModulator(nn.Module):
    """F' = r F + (1 - r) F M, computed as F (1 + (1 - r) gain (M - 1)): a map of exactly 1 returns F bit for bit.

    r is `residual_weight` in v2 and 0 in v1, so v1 is F' = F M. The gain is 1 unless learned.

    Args:
        embed_dims: C of the tokens; needed where gains depend on them, not by 'element_wise'.
        modulation_type: 'element_wise', one factor per token; 'channel_wise', with a learned gain per modality and
            channel, 1 at first; 'adaptive', with a gain in [0, 2] predicted from each token, 1 at first.
        normalize_weights: divide each sample's map by its mean first.
        residual_connection: True is v2, False is v1.
        residual_weight: share r of the original feature in v2: 1 is the identity, 0 is v1.
        learnable_modulation: one more learned gain per modality, 1 at first.
        activation: of the maps: 'none', 'sigmoid' (2 sigmoid(M - 1)), 'tanh' (1 + tanh(M - 1)) or 'relu'.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        *,
        modulation_type: str = "element_wise",
        normalize_weights: bool = False,
        residual_connection: bool = False,
        residual_weight: float = 0.65,
        learnable_modulation: bool = False,
        activation: str = "none",
    ) -> None:
        super().__init__()
        if modulation_type not in MODULATION_TYPES:
            raise ConfigError(
                f"modulation_type is {modulation_type!r}; allowed are {', '.join(map(repr, MODULATION_TYPES))}."
            )
        if activation not in ACTIVATIONS:
            raise ConfigError(f"activation is {activation!r}; allowed are {', '.join(map(repr, ACTIVATIONS))}.")
        if not 0 <= residual_weight <= 1:
            raise ConfigError(
                f"residual_weight is {residual_weight}; as the share of the original feature it must lie in [0, 1]."
            )
        self.embed_dims = None if modulation_type == "element_wise" else embed_dims
        self.normalize_weights = normalize_weights
        self.activation = activation
        self.share = 1 - residual_weight if residual_connection else 1.0
        # Rows are [lidar, camera], as in the weights.
        self.modality_gain = nn.Parameter(torch.ones(2, 1)) if learnable_modulation else None
        self.channel_gain = nn.Parameter(torch.ones(2, embed_dims)) if modulation_type == "channel_wise" else None
        self.gain_predictor = nn.Linear(embed_dims, 2) if modulation_type == "adaptive" else None
        if self.gain_predictor is not None:
            nn.init.zeros_(self.gain_predictor.weight)
            nn.init.zeros_(self.gain_predictor.bias)

    def forward(self, tokens: Tensor, maps: WeightMaps) -> tuple[Tensor, Tensor]:
        """Modulate.

        Args:
            tokens: (B, T, C), BEV row-major first, then camera, row, column.
            maps: of the same tokens.

        Returns:
            (B, T, C) tokens in their dtype, and () mean over the tokens of |F' - F| / |F|, without graph.
        """
        if self.embed_dims is not None and self.embed_dims != tokens.shape[-1]:
            raise ConfigError(
                f"embed_dims of the FeatureModulator is {self.embed_dims} but the tokens have {tokens.shape[-1]} "
                "channels; correct embed_dims."
            )
        parts, first = [], 0
        for modality, weight_map in enumerate((maps.bev, maps.image)):
            if weight_map is not None:
                count = weight_map[0].numel()
                parts.append(self._change(weight_map.flatten(1), tokens[:, first : first + count], modality))
                first += count
        assert first == tokens.shape[1], (first, tokens.shape)
        change = torch.cat(parts, dim=1)  # (B, T, 1), or (B, T, C) where channels differ
        return tokens * (1 + change).to(tokens.dtype), _relative_change(tokens.detach(), change.detach())

    def _change(self, weight_map: Tensor, tokens: Tensor, modality: int) -> Tensor:
        """(B, t) map and (B, t, C) tokens of a modality -> (B, t, 1) or (B, t, C) factor of the tokens, less 1."""
        if self.normalize_weights:
            weight_map = weight_map / weight_map.mean(dim=1, keepdim=True).clamp(min=SMALLEST_MEAN)
        change = self.share * (ACTIVATIONS[self.activation](weight_map) - 1).unsqueeze(-1)
        if self.modality_gain is not None:
            change = self.modality_gain[modality] * change
        if self.channel_gain is not None:
            change = self.channel_gain[modality] * change
        if self.gain_predictor is not None:
            predicted = self.gain_predictor(tokens)[..., modality : modality + 1]
            change = 2 * torch.sigmoid(predicted.to(change.dtype)) * change
        return change


@torch.no_grad()
def _relative_change(tokens: Tensor, change: Tensor) -> Tensor:
    """() mean over the tokens of |F change| / |F|; with one factor for all channels that is |change|."""
    if change.shape[-1] == 1:
        return change.abs().mean()
    norm = torch.linalg.vector_norm(tokens.to(change.dtype), dim=-1)
    return (torch.linalg.vector_norm(tokens * change, dim=-1) / norm.clamp(min=1e-12)).mean()
