"""Stands for Python in jobs on a cluster: knows the stages of ``tally``. Called as ``-u -m MODULE ARGUMENTS``."""

import runpy
import sys

import tally  # noqa: F401

_, _, _, module, *arguments = sys.argv
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__", alter_sys=True)
