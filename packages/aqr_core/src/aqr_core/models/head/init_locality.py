"""Weights that make cross-attention local from the first step."""
from __future__ import annotations
def init_locality(head, pc_range):
    raise NotImplementedError
