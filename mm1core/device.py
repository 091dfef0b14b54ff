"""Where a stage computes."""

import torch

from mm1core.errors import ConfigError


def resolve_device(name: str, *, key: str) -> torch.device:
    """The device that the setting ``key`` names; ``auto`` is a GPU where there is one, else the CPU.

    Raises ``ConfigError`` for a device that is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(key, f"{name!r} is not available here; use auto, cpu, or cuda where there is a GPU")
    return device
