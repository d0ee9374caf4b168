"""Models side by side, each under the same conditions: what is computed, its tables, and the command."""

from aqr_eval.compare.comparison import Comparison, Score, compare

__all__ = ["Comparison", "Score", "compare"]
