"""Which backend computes the attention with a bias on window tokens."""

from __future__ import annotations

import functools
import importlib.util
import logging

import torch

from aqr_core.errors import ConfigError

BACKENDS = ("auto", "dense", "window", "flex")
SMALL_SHARE = 0.15  # of the tokens: up to here the pairs of the windows cost less than materialised logits

logger = logging.getLogger(__name__)


def check_backend(name: str) -> str:
    """`name` if it is one of `BACKENDS`, else a `ConfigError`."""
    if name not in BACKENDS:
        raise ConfigError(f"attention_backend is {name!r}; allowed are {', '.join(map(repr, BACKENDS))}.")
    return name


def choose_backend(requested: str, device: torch.device, dtype: torch.dtype, window: int, num_tokens: int) -> str:
    """The backend to use: 'dense', 'window' or 'flex'.

    Args:
        requested: of `BACKENDS`; 'auto' decides by device, dtype and sizes and logs once why.
        device: of the attention.
        dtype: of the bias: float64 in a float64 model, else float32.
        window: tokens that a query's windows hold.
        num_tokens: T.

    Raises:
        ConfigError: 'flex' where it cannot train.
    """
    if requested == "flex" and device.type == "cpu":
        raise ConfigError("attention_backend is 'flex', which has no gradients on a CPU; use 'window' or 'auto'.")
    if requested == "flex" and not _has_triton():
        raise ConfigError("attention_backend is 'flex' but triton is not installed; install it, or use 'window'.")
    if requested != "auto":
        return requested
    if device.type == "cuda" and dtype == torch.float64:
        backend, reason = "dense", "no fused kernel takes float64"
    elif device.type == "cuda" and _has_triton():
        backend, reason = "flex", "fused with the bias, in the precision of the model"
    elif window > SMALL_SHARE * num_tokens:
        backend, reason = "dense", f"windows of {window} are large against {num_tokens} tokens"
    elif device.type == "cuda":
        backend, reason = "window", "flex needs triton, which is not installed"
    else:
        backend, reason = "window", f"windows of {window} are small against {num_tokens} tokens"
    _log_choice(backend, device.type, reason)
    return backend


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


@functools.cache
def _log_choice(backend: str, device: str, reason: str) -> None:
    logger.info("Attention backend '%s' on %s: %s.", backend, device, reason)
