"""AQR v1 and v2: query weights become maps over the two feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.clamp_schedule import ClampSchedule
from aqr_core.models.aqr.interface import WeightMaps
from aqr_core.models.aqr.projection import MapShapes, QueryCells
from aqr_core.models.aqr.splat import SplatKernel
from aqr_core.models.aqr.windows import WindowTable, build_windows, check_views
from aqr_core.models.precision import at_least_float32
from aqr_core.registry import MODELS

COMPOSITIONS = ("mean", "sum")


@MODELS.register_module()
class WeightRenderer(nn.Module):
    """Weight maps M from the weights w_i of the queries, with g_i the share of query i at a cell (see `SplatKernel`).

    | composition | M | where no query is near |
    | --- | --- | --- |
    | `mean` | 1 + sum_i g_i (w_i - 1) / max(1, sum_i g_i) | 1: unchanged |
    | `sum` | sum_i g_i w_i, the historical one | 0: erased |

    `direct` takes the largest w_i of a cell's own queries in place of either sum. Cells off the map are dropped, and
    the cameras are maps of their own. Every operation is one for all queries, and differentiable in the weights.

    Args:
        render_method: 'gaussian', 'bilinear', 'direct' or 'distance_weighted', for both maps.
        gaussian_sigma: in cells.
        bilinear_radius: in cells.
        distance_decay: per cell.
        composition: 'mean' or 'sum'.
        min_weight_threshold: values below it become 0; 'sum' only.
        normalize_weights: clamp both maps to [0, max_weight_clamp].
        max_weight_clamp: upper bound of both maps.
        clamp_schedule: list of (from_epoch, max) that takes the place of `max_weight_clamp`, see `set_epoch`.
        views: 'all' or 'first' of the cameras that see a query.
    """

    clamp_max: Tensor

    def __init__(
        self,
        *,
        render_method: str = "gaussian",
        gaussian_sigma: float = 1.0,
        bilinear_radius: float = 1.5,
        distance_decay: float = 0.8,
        composition: str = "mean",
        min_weight_threshold: float = 0.01,
        normalize_weights: bool = True,
        max_weight_clamp: float = 2.0,
        clamp_schedule: Sequence[Sequence[float]] | None = None,
        views: str = "all",
    ) -> None:
        super().__init__()
        if composition not in COMPOSITIONS:
            raise ConfigError(f"composition is {composition!r}; allowed are {' and '.join(map(repr, COMPOSITIONS))}.")
        if not 0 <= min_weight_threshold < math.inf:
            raise ConfigError(f"min_weight_threshold is {min_weight_threshold}; it must be 0 or more.")
        if not 0 < max_weight_clamp < math.inf:
            raise ConfigError(f"max_weight_clamp is {max_weight_clamp}; it must be above 0.")
        if clamp_schedule is not None and not normalize_weights:
            raise ConfigError("clamp_schedule needs normalize_weights=True, which is what clamps; set one of the two.")
        self.kernel = SplatKernel(render_method, gaussian_sigma, bilinear_radius, distance_decay)
        self.composition = composition
        self.min_weight_threshold = min_weight_threshold
        self.normalize_weights = normalize_weights
        self.views = check_views(views)
        self.clamp_schedule = None if clamp_schedule is None else ClampSchedule.read(clamp_schedule)
        # With a schedule the bound belongs to the weights, which were trained with it: it is saved among them.
        bound = max_weight_clamp if self.clamp_schedule is None else self.clamp_schedule.at(0)
        self.register_buffer("clamp_max", torch.tensor(float(bound)), persistent=self.clamp_schedule is not None)

    def set_epoch(self, epoch: int) -> None:
        """Clamp as `clamp_schedule` says for this epoch, counted from 0; nothing without a schedule."""
        if self.clamp_schedule is not None:
            self.clamp_max.fill_(self.clamp_schedule.at(epoch))

    def forward(self, weights: Tensor, cells: QueryCells) -> WeightMaps:
        """(B, Q, 2) weights `[lidar, camera]` and where the queries are -> maps, float32 also under autocast."""
        windows = build_windows(cells, (self.kernel.edge, self.kernel.edge), self.views)
        weights = at_least_float32(weights)
        weight = torch.where(windows.is_camera, weights[..., 1:], weights[..., :1])  # (B, Q, W)
        render = self._largest if self.kernel.method == "direct" else self._blend
        tokens = render(weight, windows, cells.shapes.num_tokens)  # (B, T)
        if self.composition == "sum":
            tokens = torch.where(tokens < self.min_weight_threshold, 0.0, tokens)
        if self.normalize_weights:
            tokens = tokens.clamp(min=0).clamp(max=self.clamp_max.to(tokens.dtype))
        return _maps(tokens, cells.shapes)

    def _blend(self, weight: Tensor, windows: WindowTable, num_tokens: int) -> Tensor:
        """(B, Q, W) weights -> (B, T) sum or mean."""
        share = self.kernel.shares(weight.device, weight.dtype)
        share = share.repeat(weight.shape[-1] // len(share)) * windows.valid  # one window per map
        rows = _rows(windows.index, num_tokens).flatten()

        def spread(values: Tensor) -> Tensor:
            flat = values.new_zeros(len(values) * num_tokens)
            return flat.index_add(0, rows, values.flatten()).view(-1, num_tokens)

        if self.composition == "sum":
            return spread(share * weight)
        return 1 + spread(share * (weight - 1)) / spread(share).clamp(min=1)

    def _largest(self, weight: Tensor, windows: WindowTable, num_tokens: int) -> Tensor:
        """(B, Q, W) weights -> (B, T) maximum of the queries in a cell."""
        nowhere = len(weight) * num_tokens  # one cell more takes what is off the map
        rows = torch.where(windows.valid, _rows(windows.index, num_tokens), nowhere)
        # From -inf: a start that can equal the maximum would take a share of its gradient.
        flat = weight.new_full((nowhere + 1,), -math.inf)
        flat = flat.scatter_reduce(0, rows.flatten(), weight.flatten(), "amax")[:-1].view(-1, num_tokens)
        return torch.where(flat.isneginf(), 1.0 if self.composition == "mean" else 0.0, flat)


def _rows(index: Tensor, num_tokens: int) -> Tensor:
    """(B, Q, W) tokens of a sample -> their rows among the B * T of the batch."""
    return index + torch.arange(len(index), device=index.device).view(-1, 1, 1) * num_tokens


def _maps(tokens: Tensor, shapes: MapShapes) -> WeightMaps:
    """(B, T) values of the tokens, BEV first, as views of map shape."""
    bev, image = tokens.split([shapes.num_bev, shapes.num_tokens - shapes.num_bev], dim=1)
    return WeightMaps(
        bev=None if shapes.bev is None else bev.unflatten(1, shapes.bev),
        image=None if shapes.image is None else image.unflatten(1, shapes.image),
    )
