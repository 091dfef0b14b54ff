"""One figure per module: the paper's in its style, our own in a plain one."""

from collections.abc import Mapping
from typing import Literal

Name = Literal["connector", "data_mix", "encoder", "learning_rate"]
"""What a sweep may ask for under ``figures``."""
SHOWS: Mapping[Name, tuple[str, ...]] = {
    "connector": ("connector.kind",),
    "data_mix": ("data.mix",),
    "encoder": ("encoder.objective",),
    "learning_rate": ("optimisation.learning_rate", "optimisation.matrix_learning_rate"),
}
"""For each figure the configuration keys, one of which varies in it."""
