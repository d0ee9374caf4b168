"""Denoising queries: ground-truth boxes with shifted centres that the decoder learns to repair (training only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from aqr_core.models.losses.ranks import max_over_ranks, sum_over_ranks
from aqr_core.models.precision import at_least_float32


@dataclass(frozen=True)
class DenoisingSettings:
    """How denoising queries are made; names and defaults are upstream's.

    Attributes:
        scalar: groups at most; 0 turns denoising off.
        noise_scale: size of the shift in half box sizes.
        noise_trans: metres added to half the box size.
        split: shifts longer than this (before scaling) make a query background.
        dn_weight: factor of the denoising losses.
    """

    scalar: int = 10
    noise_scale: float = 1.0
    noise_trans: float = 0.0
    split: float = 0.75
    dn_weight: float = 1.0


@dataclass(frozen=True)
class Denoising:
    """Denoising slots of a batch: `groups` times as many slots per sample as its fullest sample has boxes.

    Known slots are listed group by group, then sample, then box. Slots without a box stay at the reference (0, 0, 0)
    and take part in attention, as upstream.

    Attributes:
        reference_points: (B, S, 3) in fractions of the range, S slots.
        attn_mask: (S + Q, S + Q) bool, True where self-attention is blocked.
        batch_index: (k,) sample of each known slot.
        slot: (k,) its place among the S slots.
        boxes: (k, 9) the boxes to recover.
        labels: (k,) their classes, the number of classes where the shift was too long.
        box_labels: (k,) their classes before that.
        num_known: known slots of all ranks together.
    """

    reference_points: Tensor
    attn_mask: Tensor
    batch_index: Tensor
    slot: Tensor
    boxes: Tensor
    labels: Tensor
    box_labels: Tensor
    num_known: int

    @property
    def num_slots(self) -> int:
        """S."""
        return self.reference_points.shape[1]


def draw_noise(gt_boxes: Sequence[Tensor], seeds: Sequence[int], groups: int) -> list[Tensor]:
    """Uniform noise in [-1, 1) for every group and box, from the sample's own seed.

    Drawn on the CPU, so a sample gets the same noise whatever its batch, rank and device.

    Returns:
        per sample (groups, n, 3).
    """
    noise = []
    for boxes, seed in zip(gt_boxes, seeds, strict=True):
        generator = torch.Generator().manual_seed(int(seed))
        uniform = torch.rand((groups, len(boxes), 3), generator=generator)
        noise.append((2 * uniform - 1).to(boxes.device))
    return noise


def self_attention_mask(groups: int, group_size: int, num_query: int, device: torch.device) -> Tensor:
    """(S + Q, S + Q) bool: matching queries see no slot, a group sees no other group; slots see the queries."""
    slots = groups * group_size
    group = torch.arange(slots, device=device) // max(group_size, 1)
    mask = torch.zeros(slots + num_query, slots + num_query, dtype=torch.bool, device=device)
    mask[slots:, :slots] = True
    mask[:slots, :slots] = group[:, None] != group
    return mask


def build_denoising(
    gt_boxes: Sequence[Tensor],
    gt_labels: Sequence[Tensor],
    noise: Sequence[Tensor],
    *,
    settings: DenoisingSettings,
    pc_range: Sequence[float],
    num_query: int,
    num_classes: int,
) -> Denoising | None:
    """Make the denoising slots of a batch.

    Source: DN-DETR, with CMT's shift of the centre by up to half the axis-aligned box size.

    Args:
        gt_boxes: per sample (n, 9).
        gt_labels: per sample (n,).
        noise: per sample (at least as many groups as used, n, 3) in [-1, 1).
        settings: see there.
        pc_range: x, y, z minimum and maximum in metres.
        num_query: matching queries Q; more slots than that are never made.
        num_classes: of all tasks.

    Returns:
        None where denoising is off or no sample of any rank has a box.
    """
    device = gt_boxes[0].device
    group_size = max_over_ranks(max(len(boxes) for boxes in gt_boxes), device)
    if settings.scalar == 0 or group_size == 0:
        return None
    groups = max(1, min(settings.scalar, num_query // group_size))

    def pad(rows: Sequence[Tensor]) -> Tensor:
        stacked = pad_sequence(list(rows), batch_first=True)
        missing = group_size - stacked.shape[1]  # another rank's sample may be the fullest
        return torch.cat([stacked, stacked.new_zeros(len(stacked), missing, *stacked.shape[2:])], dim=1)

    boxes = pad([at_least_float32(b) for b in gt_boxes])  # (B, M, 9)
    labels = pad(list(gt_labels))  # (B, M)
    known = pad([torch.ones_like(label, dtype=torch.bool) for label in gt_labels])  # (B, M)
    shift = pad([n[:groups].transpose(0, 1) for n in noise]).permute(2, 0, 1, 3)  # (G, B, M, 3)

    limits = boxes.new_tensor(pc_range)
    centre = boxes[..., :3] + shift * (boxes[..., 3:6] / 2 + settings.noise_trans) * settings.noise_scale
    reference = ((centre - limits[:3]) / (limits[3:] - limits[:3])).clamp(0, 1) * known.unsqueeze(-1)
    too_far = shift.norm(dim=-1) > settings.split  # (G, B, M)

    group, sample, box = known.expand(groups, -1, -1).nonzero(as_tuple=True)
    box_labels = labels[sample, box]
    count = torch.tensor(len(group), device=device)
    return Denoising(
        reference_points=reference.transpose(0, 1).flatten(1, 2),  # (B, G * M, 3)
        attn_mask=self_attention_mask(groups, group_size, num_query, device),
        batch_index=sample,
        slot=group * group_size + box,
        boxes=boxes[sample, box],
        labels=torch.where(too_far[group, sample, box], num_classes, box_labels),
        box_labels=box_labels,
        num_known=int(sum_over_ranks(count)),
    )
