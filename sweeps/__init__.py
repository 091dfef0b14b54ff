"""Sweep definitions that ship with the package."""
