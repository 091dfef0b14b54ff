"""One figure a module, each in the style of the paper."""

NAMES = ("connector", "data_mix", "encoder")
"""What a sweep may ask for under ``figures``."""
