"""Colours of weights and queries, chosen so that readers with any colour vision can tell them apart."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, Normalize
from numpy.typing import NDArray

# Blue below neutral, white at it, red above: both ends differ in lightness from the middle.
WEIGHT_MAP: Colormap = colormaps["RdBu_r"]
# The first three are of the palette of Okabe and Ito (2008); none is the blue or red that means a weight.
QUERY_COLORS = ("#009e73", "#e69f00", "#cc79a7", "#6a3d9a", "#8a7500", "#7a4a21")
_LIMITS = (0.05, 0.1, 0.2, 0.3, 0.5)


def weight_norm(weights: NDArray[np.float64], neutral: float) -> Normalize:
    """A scale that is symmetric about the neutral weight and holds all of `weights`, its half width a round number."""
    spread = float(np.abs(weights - neutral).max(initial=0.0))
    limit = next((limit for limit in _LIMITS if spread <= limit), float(np.ceil(spread)))
    return Normalize(neutral - limit, neutral + limit)


def query_color(position: int) -> str:
    """Colour of the query in this place of a list."""
    return QUERY_COLORS[position % len(QUERY_COLORS)]
