"""When the figures of AQR ask for attention, and what to do then: for training and for analysis alike.

The limit of the LiDAR weight is half a unit above the neutral weight: 0.5 in v3, 1.5 in v1 and v2 (whose historical
`sigmoid` never exceeds 1 and so never reaches it). All three activations end one unit from neutral, so it means
"half of what the variant can do" everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

# Few LiDAR points fall on these; a barrier is as small, but stands in rows that LiDAR sees well.
SMALL_CLASSES = ("motorcycle", "bicycle", "pedestrian", "traffic_cone")
LIDAR_EXCESS = 0.5
SCALE_SHARE = 0.9
CLAMPED_SHARE = 0.05


def lidar_limit(neutral: float) -> float:
    """LiDAR weight above which a query counts as leaning on LiDAR; `neutral` is 0 in v3, 1 in v1 and v2."""
    return neutral + LIDAR_EXCESS


def routing_warnings(
    *,
    scale: float | None = None,
    max_scale: float | None = None,
    leaning: Mapping[str, float] | None = None,
    neutral: float = 0.0,
    at_clamp: Mapping[str, float] | None = None,
) -> list[str]:
    """One sentence per rule that fires; what is not given is not judged.

    Args:
        scale: of the attention bias (v3).
        max_scale: its maximum.
        leaning: class -> share of its queries with a LiDAR weight above `lidar_limit(neutral)`; other classes than
            `SMALL_CLASSES` are passed over.
        neutral: weight that changes nothing.
        at_clamp: 'bev' or 'image' -> share of the map's cells that sit at `max_weight_clamp` (v1, v2).
    """
    found = []
    if scale is not None and max_scale is not None and scale > SCALE_SHARE * max_scale:
        found.append(
            f"Bias scale {scale:.3f} is above {SCALE_SHARE} of its maximum {max_scale:.3f}: attention is driven by the "
            "bias; lower max_scale."
        )
    advice = "lower bias_scale or change window_size" if neutral == 0 else "lower max_weight_clamp"
    for name, share in (leaning or {}).items():
        if name in SMALL_CLASSES and share > 0.5:
            found.append(
                f"{share:.0%} of the {name} queries have a LiDAR weight above {lidar_limit(neutral)}, though few "
                f"points fall on so small an object; {advice}."
            )
    for name, share in (at_clamp or {}).items():
        if share > CLAMPED_SHARE:
            found.append(
                f"{share:.0%} of the cells of the {name} map sit at their clamp, where weights have no gradient; raise "
                "max_weight_clamp (or clamp_schedule, which replaces it), or use composition='mean' in place of 'sum'."
            )
    return found
