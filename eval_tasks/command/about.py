"""The versions and the machine that every script's figures depend on."""

from __future__ import annotations

from eval_tasks.engines.software import software
from preproc.environment import machine
from preproc.execution.devices import choose_device


def environment(device: str | None, *packages: str) -> dict[str, str]:
    """Versions and the machine.

    Args:
        device: what the user asked for; by default CUDA where it is there.
        packages: whose versions matter besides those of all scripts.

    Raises:
        OptionError: there is no such device.
    """
    facts = machine(choose_device(device))
    return {
        **software(*packages),
        **{name: f"{fact}" for name, fact in facts.items()},
    }
