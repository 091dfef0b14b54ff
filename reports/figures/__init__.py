"""One figure a module, each in the style of the paper."""

NAMES = ("connector", "data_mix", "encoder", "learning_rate")
"""What a sweep may ask for under ``figures``."""
