"""The pretrain stage: a multimodal model learns the data mix for a fixed budget.

Below ``work``: ``model.json`` and ``model.safetensors`` when done, ``spool.jsonl`` and ``checkpoints/`` meanwhile.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from mm1core.config import check_shares
from mm1core.data.rows import Batch, RowStream
from mm1core.data.rows import steps as row_steps
from mm1core.device import resolve_device
from mm1core.fit import Stop, fit
from mm1core.loss import target_weights, weighted_sum
from mm1core.model import ModelConfig, MultimodalModel, load_weights, save_model
from mm1core.open import Data, open_data
from mm1core.ranks import ALONE, Ranks, current, local_device
from mm1core.sharding import gathered, is_sharded, shard
from mm1core.stages import PretrainStage


def run(stage: PretrainStage, *, inputs: Mapping[str, Path], work: Path, stop: Stop) -> dict[str, Any]:
    """Train the model of ``stage`` on the data of ``inputs``, from the weights of ``encoder`` if that is an input.

    Several processes that were joined (``mm1core.ranks``) train it together, to the same weights.
    """
    ranks = current()
    check_shares(stage.training, ranks.count)
    data = open_data({role: path for role, path in inputs.items() if role != "encoder"})
    learner = Pretraining(stage, data, _start(stage, data, inputs.get("encoder")), ranks)
    scoring = stage.intermediate

    def score() -> Mapping[str, float]:
        model = learner.whole()
        return {} if model is None else _score(model.to(learner.device), data, stage)

    progress = fit(
        learner,
        steps=stage.training.steps,
        optimisation=stage.optimisation,
        training=stage.training,
        work=work,
        stop=stop,
        intermediate=None if scoring is None or scoring.every is None else (scoring.every, score),
        ranks=ranks,
    )
    model = learner.whole()
    if model is not None:
        save_model(model, work)
    ranks.wait()
    return {
        "steps": progress.step,
        "loss": progress.loss(),
        "parameters": sum(parameter.numel() for parameter in learner.module.parameters()),
        **progress.counts,
    }


class Pretraining:
    """The multimodal model and its packed rows, as a ``Learner``."""

    prefix = "train"

    def __init__(self, stage: PretrainStage, data: Data, model: MultimodalModel, ranks: Ranks = ALONE) -> None:
        self.module = model
        self.device = local_device(resolve_device(stage.training.device, key="training.device"))
        if stage.training.shard and ranks.count > 1:
            shard(model, model.blocks, ranks=ranks, device=self.device)
        self._ranks = ranks
        self._training = stage.training
        self._stream = RowStream(
            seed=stage.seed,
            mix=stage.data.mix,
            sources=data.sources,
            tokenizer=data.tokenizer,
            data=stage.data,
            image=stage.image,
            num_image_tokens=stage.connector.num_tokens,
        )

    def batches(self, *, first_step: int, workers: int) -> "DataLoader[Batch]":
        return row_steps(
            self._stream,
            first_step=first_step,
            total_steps=self._training.steps,
            rows_per_step=self._training.rows_per_step,
            workers=workers,
            ranks=self._ranks,
        )

    def shares(self, batch: Batch) -> Iterator[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]:
        total = self._ranks.sum(target_weights(batch.weights, batch.documents).sum())  # of the whole step
        total = total.clamp(min=torch.finfo(batch.weights.dtype).tiny)
        for part in self._parts(batch):
            loss, _ = weighted_sum(self.module(part), part.tokens, part.weights, part.documents)
            yield loss / total, {}

    def _parts(self, batch: Batch) -> list[Batch]:
        """The micro-batches. Where the encoder is spread over the processes, either all of them must run it or none: a
        process without an image of its own then encodes a blank one, which has no place in any row."""
        parts = batch.split(self._training.micro_batches)
        if not is_sharded(self.module):
            return parts
        images = self._ranks.sum(torch.tensor([len(part.images) for part in parts])).tolist()
        return [
            replace(part, images=part.images.new_zeros(1, *part.images.shape[1:]))
            if seen and not len(part.images)
            else part
            for part, seen in zip(parts, images, strict=True)
        ]

    def whole(self) -> MultimodalModel | None:
        """The model with all its weights, for the first process; the others get ``None``. All must call this."""
        if not is_sharded(self.module):
            return self.module if self._ranks.first else None
        weights = gathered(self.module.state_dict(), keep=self._ranks.first)
        if not self._ranks.first:
            return None
        with torch.random.fork_rng(devices=[]):
            model = MultimodalModel(self.module.config)
        model.load_state_dict(weights)
        return model

    def counts(self, batch: Batch) -> Mapping[str, int]:
        return {
            "tokens": int((batch.documents >= 0).sum()),
            "images": len(batch.images),
            "documents": len(batch.names),
            "cut_documents": batch.cut,
        }


def _start(stage: PretrainStage, data: Data, encoder: Path | None) -> MultimodalModel:
    torch.manual_seed(stage.seed)
    model = MultimodalModel(
        ModelConfig(
            image=stage.image,
            encoder=stage.encoder,
            connector=stage.connector,
            decoder=stage.decoder,
            vocabulary_size=data.tokenizer.get_vocab_size(),
        )
    )
    if encoder is not None:
        load_weights(model.encoder, encoder / "encoder.safetensors")
    return model


def _score(model: MultimodalModel, data: Data, stage: PretrainStage) -> Mapping[str, float]:
    from mm1core.evaluation.evaluate import score_model

    assert stage.intermediate is not None
    items = stage.intermediate.intermediate_items
    # without the stop request: a state saved in the middle of a score would leave a hole in the spool
    metrics: dict[str, float] = score_model(model, data, stage.intermediate, split="validation", items=items)["metrics"]
    return metrics
