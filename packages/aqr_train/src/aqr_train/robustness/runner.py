"""Clean and failing trials of one model, one after the other, each written when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from accelerate.utils import broadcast_object_list

from aqr_eval import DetectionMetrics, evaluate, write_submission
from aqr_eval.robustness import CellResult
from aqr_train.inference import Inference
from aqr_train.robustness.account import Account
from aqr_train.robustness.cell_files import CellFiles
from aqr_train.robustness.plan import Trial
from aqr_train.truth import ground_truth_of

SuiteProgress = Callable[[int, int, int, int], None]  # cells done before, cells in all, keyframes of this one done, all


def run_trials(
    inference: Inference,
    trials: Sequence[Trial],
    files: CellFiles,
    *,
    save_submissions: bool = False,
    say: Callable[[str], object] = lambda line: None,
    progress: SuiteProgress = lambda *counts: None,
) -> list[CellResult] | None:
    """Predict and score the trials whose results are not there yet.

    Args:
        inference: the model and the clean test set.
        trials: each with the test set that it changes that one into.
        files: where results are looked for and written.
        save_submissions: keep the detections of what is predicted.
        say: told on the main process why a result that is there is made anew, and what each cell came to.
        progress: told on the main process after each batch.

    Returns:
        A result per trial on the main process, None on the others.
    """
    found = [files.find(trial) for trial in trials] if inference.is_main else []
    for trial, (result, why) in zip(trials, found, strict=False):
        if result is None and why:
            say(f"{trial.name} is predicted again: {why}.")
    shared = [[number for number, (result, _) in enumerate(found) if result is None]]
    broadcast_object_list(shared)  # the others must not look for themselves: the main process may write meanwhile
    (missing,) = shared
    if inference.is_main and len(missing) < len(trials):
        say(f"{len(trials) - len(missing)} of {len(trials)} cells are there already.")
    results = [result for result, _ in found]
    truth = ground_truth_of(inference.dataset.infos, inference.dataset.dataroot) if found and missing else None
    for done, number in enumerate(missing):
        trial = trials[number]
        failing, account = inference.on(trial.entry), Account()
        submission = failing.predict(partial(progress, done, len(missing)), note=account.note)
        removed = account.mean(len(failing.dataset), inference.accelerator)
        if submission is None or truth is None:
            continue
        if save_submissions:
            write_submission(files.submission(trial), submission)
        result = _result(trial, evaluate(truth, submission), removed)
        files.write(trial, result)
        results[number] = result
        say(f"{trial.name}: NDS {result.nds:.3f}, mAP {result.mean_ap:.3f} ({done + 1} of {len(missing)})")
    return [result for result in results if result is not None] if inference.is_main else None


def _result(trial: Trial, metrics: DetectionMetrics, removed: dict[str, float]) -> CellResult:
    return CellResult(
        corruption=trial.cell.name,
        severity=trial.cell.severity,
        nds=metrics.nd_score,
        mean_ap=metrics.mean_ap,
        tp_errors=metrics.tp_errors,
        removed=removed,
        differs=trial.cell.differs,
    )
