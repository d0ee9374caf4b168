"""The list of all checks, in the order in which they run: what is quick and telling first."""

from __future__ import annotations

from aqr_train.gpu_check.check import Check
from aqr_train.gpu_check.costs import cost_checks
from aqr_train.gpu_check.kernels import kernel_checks
from aqr_train.gpu_check.training import training_checks

CHECKS: tuple[Check, ...] = (*kernel_checks(), *training_checks(), *cost_checks())
