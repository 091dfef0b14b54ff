"""The model core: trains and evaluates one configuration of a multimodal language model.

Knows nothing of sweeps, schedulers or trackers. ``mm1core.config`` and ``mm1core.stages`` import the standard library
alone, so that planning stays light; everything else needs torch.
"""
