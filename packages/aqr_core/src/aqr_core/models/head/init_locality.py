"""Weights that make cross-attention local before the first step; architecture and parameter names stay.

With the default initialisation cross-attention is uniform over all tokens, and a small model needs hours to leave
that state. Here both positional MLPs start as codes E(p) of constant norm, and the cross-attention projections of
queries and keys as multiples of the identity, so a logit E(p) . E(p') peaks where key and reference coincide:

- `bev_embedding` codes x and y by sines and cosines of `cycles` periods per range, in all heads but the last;
- `rv_embedding` codes azimuth and elevation of a camera ray, in the channels of the last head.

Both MLPs get ridge functions as first layer and a second layer from least squares over sampled positions. Measured
on a toy scene with 12 boxes (batch 2, AdamW 5e-4, 75 steps): recall within 2 m 0.58, with the default 0.08.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from aqr_core.errors import ConfigError
from aqr_core.models.head.position import RayEmbedding, bev_cell_centers, pos2embed

if TYPE_CHECKING:
    from aqr_core.models.head.cmt_head import CmtHead

# Hidden units of the BEV MLP: bumps along one axis. Their height trades the sensitivity of the first layer against
# that of the second. The code still wants a smaller learning rate than the other weights (docs/experiment-log.md).
BUMP_RADIUS = 0.05  # of the range, half the width
BUMP_HEIGHT = 4.0
BUMP_PENALTY = 1e-4  # of the least squares, relative to the largest eigenvalue
MIN_DIVISOR, MAX_DIVISOR = 1.1, 1.4  # of the `pos2embed` waves that make a bump

# Hidden units of the ray MLP: hinges along directions, that is relu(height * (direction . normal - threshold)).
BEAM_THRESHOLDS = (-0.2, 1.3, 7)  # from, to, count
BEAM_HEIGHT = 20.0
BEAM_PENALTY = 1e-6
UPWARD_SHARE = 8  # one in so many units looks upward, the others around
AZIMUTH_SHARE = 0.75  # of the last head's channels; the others code the elevation

# Rays that the ray MLP is fitted on.
MAX_OFF_AXIS_RAD = math.radians(55)  # half the field of view of the widest nuScenes camera
SLOPE_RANGE = (-0.5, 0.3)  # up over forward: -27 to 17 degrees
SCALE_RANGE = (0.9, 1.1)  # augmentation scales the directions
NUM_RAYS = 8192


@torch.no_grad()
def init_locality(
    head: CmtHead,
    pc_range: Sequence[float],
    *,
    cycles: tuple[float, float] = (0.5, 6.0),
    bev_amplitude: float = 3.0,
    broad_gain: float = 0.6,
    ray_amplitude: float = 2.0,
    reference_z_m: float = -1.0,
    reference_jitter: float = 0.5,
    seed: int = 0,
) -> None:
    """Initialise positional MLPs, cross-attention queries and keys, and reference points.

    Args:
        head: a head with at least two attention heads.
        pc_range: x, y, z minimum and maximum in metres.
        cycles: lowest and highest frequency of the BEV code in periods per range.
        bev_amplitude: of each sine in the BEV code.
        broad_gain: factor of that amplitude in the last BEV head, which so sees a wider neighbourhood.
        ray_amplitude: of each sine in the ray code; small against `bev_amplitude`.
        reference_z_m: height of the reference points.
        reference_jitter: of the regular grid of reference points, in grid cells.
        seed: of the jitter and of the sampled rays.
    """
    attentions = [layer.attentions[1].attn for layer in head.transformer.decoder.layers]
    heads, channels = attentions[0].num_heads, head.hidden_dim // attentions[0].num_heads
    if heads < 2 or channels % 8:
        raise ConfigError(
            f"init_cfg type 'Locality' got {heads} heads of {channels} channels; "
            "it needs at least 2 heads of a multiple of 8 channels."
        )
    generator = torch.Generator().manual_seed(seed)
    gains = [bev_amplitude] * (heads - 1)
    if heads > 2:
        gains[-1] *= broad_gain
    _fit_bev(head.bev_embedding, channels, gains, cycles)
    if head.uses_camera:
        _fit_rays(head.rv_embedding, channels, ray_amplitude, generator)
    for attention in attentions:
        query, key, _ = attention.in_proj_weight.chunk(3)
        nn.init.eye_(query)
        nn.init.eye_(key)
    head.reference_points.weight.copy_(
        _reference_grid(head.num_query, reference_jitter, reference_z_m, pc_range, generator)
    )


@torch.no_grad()
def attention_within(
    head: CmtHead, bev_shape: tuple[int, int], radius_m: float, memory: Tensor | None = None
) -> Tensor:
    """Share of the first cross-attention on BEV cells within `radius_m` of the reference, mean over queries.

    Args:
        head: a head.
        bev_shape: (Y, X) of the map, taken to fill the range.
        radius_m: between the cell centre and the reference point, in x and y.
        memory: (Y * X, C) content of the tokens; None for zero.

    Returns:
        (A,) one share per attention head.
    """
    rows, cols = bev_shape
    x0, y0, _, x1, y1, _ = head.pc_range
    reference = head.reference_points.weight
    cells = bev_cell_centers(bev_shape, (1 / cols, 1 / rows), reference.device)
    query = head.bev_embedding(pos2embed(reference, head.hidden_dim))
    value = torch.zeros(len(cells), head.hidden_dim, device=reference.device) if memory is None else memory
    key = value + head.bev_embedding(pos2embed(cells, head.hidden_dim))
    attention = head.transformer.decoder.layers[0].attentions[1].attn
    q, k, _ = (attention.split_heads(x[None])[0] for x in attention.project(query, key, value))
    share = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(dim=-1)  # (A, Q, T)
    size = reference.new_tensor([x1 - x0, y1 - y0])
    near = torch.cdist(reference[:, :2] * size, cells * size) <= radius_m
    return (share * near).sum(dim=-1).mean(dim=-1)


def _fit_bev(mlp: nn.Sequential, channels: int, gains: Sequence[float], cycles: tuple[float, float]) -> None:
    """Code of x and y in the channels of the first `len(gains)` heads; the other channels get zero.

    Half the hidden units are bumps along x, half along y: a mean of cosines from `pos2embed` that peaks at the
    unit's centre, cut off below. Bumps are local, so a training step that disturbs one unit leaves the code elsewhere
    alone; hinges, which add up over the range, would lose the code within some ten steps.
    """
    first, last = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[-1])
    units, num_feats = first.out_features // 2, first.in_features // 2
    position = torch.linspace(0, 1, 2048, dtype=torch.float64)
    center = (torch.arange(units, dtype=torch.float64) + 0.5) / units
    wave = _wave_weights(center, num_feats)  # (units, num_feats)
    sinusoid = _sinusoid(position, num_feats)
    origin = torch.zeros(1, dtype=torch.float64)
    cut = float(_wave_weights(origin, num_feats) @ _sinusoid(origin + BUMP_RADIUS, num_feats)[0])
    bumps = ((sinusoid @ wave.T - cut) / (1 - cut)).relu()  # (P, units), peak 1
    frequency = torch.logspace(
        math.log10(cycles[0]), math.log10(cycles[1]), channels // 4, base=10, dtype=torch.float64
    )
    phase = 2 * torch.pi * position[:, None] * frequency
    code = torch.cat([phase.cos(), phase.sin()], dim=-1)  # (P, channels / 2)
    solution = _ridge_regression(bumps, code, BUMP_PENALTY)  # (units, channels / 2)

    first.weight.zero_()
    last.weight.zero_()
    last.bias.zero_()
    axis_channels = channels // 2
    for axis, block in ((0, slice(num_feats, None)), (1, slice(0, num_feats))):  # pos2embed puts y first
        rows = slice(axis * units, (axis + 1) * units)
        first.weight[rows, block] = (BUMP_HEIGHT * wave / (1 - cut)).float()
        first.bias[rows] = -BUMP_HEIGHT * cut / (1 - cut)
        for head, gain in enumerate(gains):
            out = slice(head * channels + axis * axis_channels, head * channels + (axis + 1) * axis_channels)
            last.weight[out, rows] = (gain / BUMP_HEIGHT * solution).float().T


def _wave_weights(center: Tensor, num_feats: int) -> Tensor:
    """(H,) positions -> (H, num_feats) weights of one axis of `pos2embed`: mean of cos(2 pi (x - center) / divisor).

    Only divisors above `MIN_DIVISOR` take part: nearer to 1 the wave would return at the other end of the range.
    """
    code = _sinusoid(center, num_feats)
    divisor = 2 * torch.arange(num_feats // 2, dtype=torch.float64) / num_feats + 1
    used = (divisor > MIN_DIVISOR) & (divisor < MAX_DIVISOR)
    return code * used.repeat_interleave(2) / used.sum()


def _sinusoid(position: Tensor, num_feats: int) -> Tensor:
    """(H,) positions -> (H, num_feats) one axis of `pos2embed`."""
    return pos2embed(torch.stack([position, position], dim=-1), num_feats)[:, num_feats:]


def _fit_rays(mlp: RayEmbedding, channels: int, amplitude: float, generator: torch.Generator) -> None:
    """Code of a ray's azimuth and elevation in the channels of the last head; the other channels get zero.

    The first layer reads the direction off the points of the ray (their slope over depth, so the camera's place
    cancels) and holds hinges along directions all around and along the vertical.
    """
    first, last = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[-1])
    hidden = first.out_features
    azimuth, off_axis, slope, size = torch.rand(4, NUM_RAYS, generator=generator, dtype=torch.float64)
    azimuth = 2 * torch.pi * azimuth
    length = 1 / torch.cos((2 * off_axis - 1) * MAX_OFF_AXIS_RAD)  # of the horizontal part at depth 1 m
    slope = SLOPE_RANGE[0] + (SLOPE_RANGE[1] - SLOPE_RANGE[0]) * slope  # up over depth
    size = SCALE_RANGE[0] + (SCALE_RANGE[1] - SCALE_RANGE[0]) * size
    direction = torch.stack([length * azimuth.cos(), length * azimuth.sin(), slope], dim=-1) * size[:, None]

    upward = hidden // UPWARD_SHARE
    around = hidden - upward
    angle = torch.arange(around, dtype=torch.float64) * (2 * torch.pi * 0.6180339887498949)
    normal = torch.zeros(hidden, 3, dtype=torch.float64)
    normal[:around, 0], normal[:around, 1] = angle.cos(), angle.sin()
    normal[around:, 2] = 1
    threshold = torch.empty(hidden, dtype=torch.float64)
    steps = torch.linspace(*BEAM_THRESHOLDS, dtype=torch.float64)
    threshold[:around] = steps.repeat(around // len(steps) + 1)[:around]
    threshold[around:] = torch.linspace(SLOPE_RANGE[0] - 0.05, SLOPE_RANGE[1], upward, dtype=torch.float64)

    num_azimuth = int(channels * AZIMUTH_SHARE) // 2
    harmonic = torch.arange(1, num_azimuth + 1, dtype=torch.float64)
    turn = azimuth[:, None] * harmonic
    num_elevation = channels // 2 - num_azimuth
    climb = torch.atan(slope / length) / math.radians(45)
    swing = climb[:, None] * torch.pi * torch.arange(1, num_elevation + 1, dtype=torch.float64)
    code = torch.cat([turn.cos(), turn.sin(), swing.cos(), swing.sin()], dim=-1)
    design = torch.cat([(direction @ normal.T - threshold).relu(), torch.ones_like(azimuth)[:, None]], dim=-1)
    solution = amplitude * _ridge_regression(design, code, BEAM_PENALTY)

    depths = mlp.depths.double()
    offset = depths - depths.mean()
    slope_of = (offset / offset.square().sum())[:, None] * mlp.range_size.double()  # (depths, 3)
    weight = (slope_of * normal[:, None]).flatten(1)  # (hidden, 3 * depths)
    first.weight.copy_((BEAM_HEIGHT * weight).float())
    first.bias.copy_((-BEAM_HEIGHT * threshold).float())
    last.weight.zero_()
    last.bias.zero_()
    last.weight[-channels:] = (solution[:-1] / BEAM_HEIGHT).float().T
    last.bias[-channels:] = solution[-1].float()


def _reference_grid(
    count: int, jitter: float, z_m: float, pc_range: Sequence[float], generator: torch.Generator
) -> Tensor:
    """(count, 3) points of a jittered regular grid, in fractions of the range."""
    edge = math.ceil(math.sqrt(count))
    rows = math.ceil(count / edge)
    chosen = torch.linspace(0, edge * rows - 1, count).round()
    shift = (torch.rand(count, 2, generator=generator) - 0.5) * jitter
    x = (chosen % edge + 0.5 + shift[:, 0]) / edge
    y = (torch.div(chosen, edge, rounding_mode="floor") + 0.5 + shift[:, 1]) / rows
    z = torch.full_like(x, (z_m - pc_range[2]) / (pc_range[5] - pc_range[2]))
    return torch.stack([x, y, z.clamp(0.05, 0.95)], dim=-1)


def _ridge_regression(design: Tensor, target: Tensor, penalty: float) -> Tensor:
    """Least squares with a penalty relative to the largest eigenvalue: (P, H), (P, D) -> (H, D)."""
    gram = design.T @ design
    strength = penalty * torch.linalg.matrix_norm(gram, 2)
    return torch.linalg.solve(gram + strength * torch.eye(len(gram), dtype=gram.dtype), design.T @ target)
