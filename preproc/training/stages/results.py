"""What a stage leaves when its training ends or is stopped: weights, record and curve."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from preproc.environment import versions
from preproc.reports import write_json
from preproc.training.curve import write_curve
from preproc.training.module import Restoration
from preproc.training.stages.folder import CURVE, RECORD, WEIGHTS
from preproc.weights import save_state

_MAX_WAITING = 0.1  # warn when waiting for data takes more than this share of the time

_log = logging.getLogger(__name__)


def leave_results(
    folder: Path,
    module: Restoration,
    kept: Mapping[str, Tensor],
    device: torch.device,
    *,
    finished: bool,
) -> None:
    """Write weights, record and curve, and say how far the stage came.

    Args:
        folder: of the stage.
        module: as it was trained, with the averaged weights.
        kept: the weights that the stage began with where the recipe keeps a share of them, on the
            CPU; else none.
        device: where it was trained; afterwards Lightning moves the module to the CPU.
        finished: whether the stage came to its end.
    """
    stage = module.stage
    _tell_waiting(module)
    state = module.network.state_dict()
    if kept:
        state = {
            key: value.cpu().lerp(kept[key], stage.keep) if value.is_floating_point() else value
            for key, value in state.items()
        }
    save_state(folder / WEIGHTS, state, dtype=torch.float32)
    write_json(folder / RECORD, _record(module, device, finished=finished))
    _log.info("%s: %d steps, %.1f minutes", stage.name, module.global_step, module.clock)
    if stage.validation.path:
        write_curve(module.curve, folder / CURVE, f"{stage.model}, {stage.name}")


def _record(module: Restoration, device: torch.device, *, finished: bool) -> dict[str, object]:
    """Everything needed to tell, and to repeat, what made the weights beside it."""
    return {
        "finished": finished,
        "steps": module.global_step,
        "minutes": round(module.clock, 2),
        "minutes_waited_for_data": round(module.waited, 2),
        "curve": [asdict(point) for point in module.curve],
        "init_from": module.init_from,
        "versions": versions("torch", "lightning", "numpy", "pillow"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "stage": module.stage.as_table(),
    }


def _tell_waiting(module: Restoration) -> None:
    """Say so when loading did not keep up."""
    share = module.waited / max(module.clock + module.waited, 1e-9)
    if share > _MAX_WAITING:
        _log.warning(
            "Steps waited for their data %.0f %% of the time; raise data.workers (now %d).",
            100 * share,
            module.stage.data.workers,
        )
