"""Training to a fixed budget of steps, on Lightning: what the encoder stage and the pre-training stage share.

A ``Learner`` defines what is learnt; this module defines how it is executed. Every step: gradients summed over the
micro-batches, clipped, one update at the scheduled rate, then (in this order) the spool, an intermediate score, the
checkpoint, the stop request. A run that was killed and resumed equals one that was not, bit for bit on a CPU: weights,
optimizers, random state and counts are in the checkpoint, the data is a pure function of the step, the spool is
trimmed.

Lightning moves batches, applies the precision and drives the loop. Its logger, checkpoints, progress bar, estimate of
the number of steps and signal handlers are off: these are handled elsewhere.
"""

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as lightning
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import nn
from torch.utils.data import DataLoader

from mm1core import checkpoints, spool
from mm1core.config import OptimisationConfig, TrainingConfig
from mm1core.device import resolve_device
from mm1core.errors import ConfigError, Diverged, Interrupted
from mm1core.load import Load
from mm1core.optimisers import build_optimisers, schedule, set_rates
from mm1core.ranks import ALONE, Ranks, local_device
from mm1core.sharding import gathered, is_sharded, load, load_optimisers, whole
from mm1core.storage import refusals

Stop = Callable[[], str | None]

_RESULT_WINDOW = 50
"""Steps over which the loss of the result is averaged."""


class Learner(Protocol):
    """What is learnt: the weights, the data and the loss."""

    prefix: str
    """Prefix of the names of metrics: ``train`` or ``encoder``."""

    @property
    def module(self) -> nn.Module:
        """Everything that has weights, all of which go into a checkpoint."""
        ...

    def batches(self, *, first_step: int, workers: int) -> DataLoader[Any]:
        """The batches from ``first_step`` to the last step, each a pure function of its step, with a method ``to``."""
        ...

    def shares(self, batch: Any) -> Iterator[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]:
        """For each micro-batch, its share of the step's loss and of further metrics; the shares sum to the values."""
        ...

    def counts(self, batch: Any) -> Mapping[str, int]:
        """What the step consumed, such as ``tokens`` and ``images``."""
        ...


@dataclass(kw_only=True)
class Progress:
    """What a run has done so far. All of it is in the checkpoint."""

    step: int = 0
    """Steps done."""
    counts: dict[str, int] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    """Losses of the newest steps, oldest first: those since the last line of the spool, and of the result's window."""

    def loss(self) -> float:
        """Mean over the newest steps, as it goes into the result."""
        newest = self.losses[-_RESULT_WINDOW:]
        return sum(newest) / len(newest)


def fit(
    learner: Learner,
    *,
    steps: int,
    optimisation: OptimisationConfig,
    training: TrainingConfig,
    work: Path,
    stop: Stop,
    intermediate: tuple[int, Callable[[], Mapping[str, float]]] | None = None,
    ranks: Ranks = ALONE,
) -> Progress:
    """Train ``learner.module`` for ``steps`` steps in all, continuing from the newest checkpoint below ``work``.

    ``intermediate``: a number of steps and a function that is called that often, whose metrics go into the spool; every
    process calls it, and the metrics of the first one count. Only the precision and the execution fields of
    ``training`` are used. ``ranks``: the processes that train together; the learner's batches and shares are then this
    process's part of the step's, and only the first process writes. Raises ``Interrupted`` after saving when ``stop``
    gives a reason, ``Diverged`` at a loss or gradient that is not finite, ``StorageError`` where ``work`` cannot be
    written.
    """
    device = local_device(resolve_device(training.device, key="training.device"))
    if device.type == "cpu" and training.precision == "bf16":
        raise ConfigError("training.precision", "bf16 needs a GPU and there is none here; use fp32")
    with refusals(work):
        work.mkdir(parents=True, exist_ok=True)
    learner.module.to(device)
    loop = _Loop(learner, steps=steps, optimisation=optimisation, training=training, work=work, stop=stop, ranks=ranks)
    loop.intermediate = intermediate
    loop.resume()
    if loop.progress.step < steps:
        _trainer(device, training).fit(
            loop, learner.batches(first_step=loop.progress.step, workers=training.data_workers)
        )
    return loop.progress


class _Loop(lightning.LightningModule):
    """One training step as Lightning calls it."""

    def __init__(
        self,
        learner: Learner,
        *,
        steps: int,
        optimisation: OptimisationConfig,
        training: TrainingConfig,
        work: Path,
        stop: Stop,
        ranks: Ranks,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # The learner's module is not a submodule of this one: Lightning would move it.
        self.progress = Progress()
        self.intermediate: tuple[int, Callable[[], Mapping[str, float]]] | None = None
        self._learner = learner
        self._steps = steps
        self._optimisation = optimisation
        self._training = training
        self._spool = work / "spool.jsonl"
        self._checkpoints = work / "checkpoints"
        self._stop = stop
        self._ranks = ranks
        self._optimisers = build_optimisers(learner.module, optimisation)
        self._trained = [parameter for parameter in learner.module.parameters() if parameter.requires_grad]
        self._clock, self._load = _Clock(), Load()
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return self._optimisers

    def on_train_start(self) -> None:
        # Lightning answers SIGTERM by leaving between two steps, without a checkpoint. Signals belong to the job.
        if self._on_sigterm is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)
        self._clock.restart()
        self._load.restart()

    def training_step(self, batch: Any, index: int) -> None:
        set_rates(self._optimisers, schedule(self.progress.step, self._steps, self._optimisation))
        values = self._gradients(batch)
        with self._full_precision():
            self._update(values)
            self._finish_step(batch, values)

    def _gradients(self, batch: Any) -> dict[str, float]:
        """Compute the whole step's gradients; returns its loss, further metrics and the norm before clipping."""
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        values: dict[str, torch.Tensor] = {}
        for share, metrics in self._learner.shares(batch):
            with self._full_precision():
                self.manual_backward(share)
            for name, value in {"loss": share, **metrics}.items():
                values[name] = values.get(name, 0.0) + value.detach()
        if not is_sharded(self._learner.module):
            self._ranks.sum_gradients(self._trained)
        norm = whole(nn.utils.clip_grad_norm_(self._trained, self._optimisation.gradient_clip, foreach=True))
        sums = self._ranks.sum(torch.stack([value.float() for value in values.values()]))
        numbers = torch.cat([sums, norm.float()[None]]).tolist()  # the only wait for a GPU in a step
        return dict(zip([*values, "gradient_norm"], numbers, strict=True))

    def _update(self, values: Mapping[str, float]) -> None:
        for name in ("loss", "gradient_norm"):
            if not isfinite(values[name]):
                raise Diverged(f"step {self.progress.step + 1}: the {name.replace('_', ' ')} is {values[name]}")
        for optimiser in self._optimisers:
            optimiser.step()

    def _full_precision(self) -> AbstractContextManager[None]:
        """Lightning calls a step under autocast, which is for the forward pass alone."""
        return torch.autocast(self.device.type, enabled=False)

    def _finish_step(self, batch: Any, values: Mapping[str, float]) -> None:
        progress, training = self.progress, self._training
        counts = self._counts(batch)
        progress.step += 1
        progress.losses = [*progress.losses, values["loss"]][-max(_RESULT_WINDOW, training.log_every) :]
        progress.counts = {name: progress.counts.get(name, 0) + count for name, count in counts.items()}
        self._clock.add(counts)

        last = progress.step == self._steps
        if self._ranks.first and (progress.step % training.log_every == 0 or last):
            self._log(values)
        if self.intermediate and (progress.step % self.intermediate[0] == 0 or last):
            scores = self.intermediate[1]()
            if self._ranks.first:
                spool.append(self._spool, progress.step, scores)
            self._clock.restart()
        reason = None if last else self._ranks.anybody(self._stop())
        if reason is not None or progress.step % training.checkpoint_every == 0:
            self._save()
            self._ranks.wait()  # no process leaves before the state is saved
        if reason is not None:
            raise Interrupted(reason)

    def _counts(self, batch: Any) -> dict[str, int]:
        counts = self._learner.counts(batch)
        sums = self._ranks.sum(torch.tensor(list(counts.values()), dtype=torch.int64)).tolist()
        return dict(zip(counts, sums, strict=True))

    def _log(self, values: Mapping[str, float]) -> None:
        since = (self.progress.step - 1) % self._training.log_every + 1
        newest = self.progress.losses[-since:]
        rates = [group["lr"] for optimiser in self._optimisers for group in optimiser.param_groups]
        metrics = {**values, "loss": sum(newest) / len(newest), "learning_rate": rates[-1], **self._clock.read()}
        prefix = self._learner.prefix
        curves = {f"{prefix}/{name}": value for name, value in metrics.items()}
        load = {f"system/{prefix}_{name}": value for name, value in self._load.read(self.device).items()}
        spool.append(self._spool, self.progress.step, {**curves, **load})

    def _save(self) -> None:
        state = {
            "step": self.progress.step,
            "counts": self.progress.counts,
            "losses": self.progress.losses,
            "module": gathered(self._learner.module.state_dict(), keep=self._ranks.first),
            "optimisers": gathered([one.state_dict() for one in self._optimisers], keep=self._ranks.first),
            "random": {
                "cpu": torch.get_rng_state(),
                "cuda": [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else [],
            },
        }
        if self._ranks.first:
            spool.sync(self._spool)
            checkpoints.save(self._checkpoints, self.progress.step, state)

    def resume(self) -> None:
        """Continue from the newest undamaged checkpoint, if there is one, and trim the spool to its step."""
        if not self._ranks.first:
            self._ranks.wait()  # until the first has set aside what is damaged
        module = self._learner.module
        state = checkpoints.load_newest(self._checkpoints, mapped=is_sharded(module))
        if state is not None:
            load(module, state["module"])
            load_optimisers(self._optimisers, state["optimisers"])
            torch.set_rng_state(state["random"]["cpu"])
            for generator in state["random"]["cuda"]:
                torch.cuda.set_rng_state(generator)
            self.progress = Progress(step=state["step"], counts=state["counts"], losses=state["losses"])
        if self._ranks.first:
            spool.trim(self._spool, self.progress.step)
            self._ranks.wait()
        self._ranks.wait()  # no process trains on before all have read


class _Clock:
    """Rates since the last line of the spool. Time is no part of any result."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._started, self._steps, self._counts = time.perf_counter(), 0, dict[str, int]()

    def add(self, counts: Mapping[str, int]) -> None:
        self._steps += 1
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    def read(self) -> dict[str, float]:
        seconds = max(time.perf_counter() - self._started, 1e-9)
        rates = {
            f"{name}_per_second": self._counts[name] / seconds for name in ("tokens", "images") if name in self._counts
        }
        rates["step_seconds"] = seconds / max(1, self._steps)
        self.restart()
        return rates


def _trainer(device: torch.device, training: TrainingConfig) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if training.precision == "bf16" else "32-true",
        max_epochs=1,  # the loader ends after our own number of steps
        # Named so that Lightning does not find SLURM by itself and requeue jobs.
        plugins=[LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # greetings, tips and the list of accelerators
for _remark in ("does not have many workers", "srun", "LeafSpec"):  # Lightning's, on what is intended or its own doing
    warnings.filterwarnings("ignore", message=f".*{_remark}.*", module="lightning")
