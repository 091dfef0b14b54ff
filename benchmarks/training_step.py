"""What one training step of the micro preset costs, part by part, in milliseconds of one core.

    python benchmarks/training_step.py [--architecture granite] [--connector c_abstractor] [--repeats 30]

Builds the world in a temporary folder and takes real rows. Every part is repeated and its smallest CPU time printed:
the machine's other work only ever adds to it. ``loop`` is a step as a stage runs it, with Lightning, data and spool;
``data`` is the making of its rows, contained in it. Prints JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mm1core.config import ARCHITECTURES, Config, EncoderConfig, WorldConfig
from mm1core.data.rows import RowStream, stack
from mm1core.decoder import packing_mask
from mm1core.encoder import grid_of
from mm1core.loss import weighted_sum
from mm1core.model import ModelConfig, MultimodalModel
from mm1core.open import open_data
from mm1core.optimisers import build_optimisers
from mm1core.stages import PretrainStage, WorldStage
from mm1core.train import run
from mm1core.world import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default=Config().decoder.architecture)
    parser.add_argument(
        "--connector", choices=["average_pool", "attention_pool", "c_abstractor"], default="average_pool"
    )
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = Config(encoder=EncoderConfig(objective="none"))
    config = replace(
        config,
        connector=replace(config.connector, kind=options.connector),
        decoder=replace(config.decoder, architecture=options.architecture),
        data=replace(config.data, mix={"synthetic_captions": 0.45, "interleaved": 0.45, "text": 0.10}),
    )
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(config, Path(folder), options.repeats), indent=2))


def measure(config: Config, folder: Path, repeats: int) -> dict[str, Any]:
    """Milliseconds by part."""
    world = folder / "world"
    world.mkdir()
    build.run(WorldStage(world=WorldConfig()), inputs={}, work=world, stop=lambda: None)
    data = open_data({"world": world})
    stream = RowStream(
        seed=0,
        mix=config.data.mix,
        sources=data.sources,
        tokenizer=data.tokenizer,
        data=config.data,
        image=config.image,
        num_image_tokens=config.connector.num_tokens,
    )
    rows = config.training.rows_per_step
    batches = [
        stack([stream.row(index) for index in range(rows * step, rows * step + rows)]) for step in range(repeats)
    ]
    batch = batches[0]
    torch.manual_seed(0)
    model = MultimodalModel(
        ModelConfig(
            image=config.image,
            encoder=config.encoder,
            connector=config.connector,
            decoder=config.decoder,
            vocabulary_size=data.tokenizer.get_vocab_size(),
        )
    )
    optimisers = build_optimisers(model, config.optimisation)
    features = model.encoder(batch.images).detach().requires_grad_()
    grid = grid_of(batch.images, config.image.patch_size)
    embedded = model.embed(batch.tokens, model.encode_images(batch.images), batch.image_names).detach().requires_grad_()
    mask = packing_mask(batch.documents, embedded.dtype)

    def decode() -> torch.Tensor:
        output = model.decoder(
            inputs_embeds=embedded, attention_mask=mask, position_ids=batch.positions, use_cache=False
        )
        return weighted_sum(output.logits, batch.tokens, batch.weights, batch.documents)[0]

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        for optimiser in optimisers:
            optimiser.step()

    parts: dict[str, Callable[[], Any]] = {
        "image encoder": lambda: model.encoder(batch.images).sum().backward(),
        "connector": lambda: model.connector(features, grid).sum().backward(),
        "decoder and loss": lambda: decode().backward(),
        "clipping and optimizers": update,
    }
    found: dict[str, Any] = {"images": len(batch.images), "tokens": int((batch.documents >= 0).sum())}
    found |= {name: round(min(_cpu_milliseconds(part) for _ in range(repeats)), 1) for name, part in parts.items()}
    found["data"] = round(
        _cpu_milliseconds(lambda: [stream.row(index) for index in range(rows * repeats)]) / repeats, 1
    )
    found["loop"] = round(min(_loop(config, world, folder / str(number), repeats) for number in range(3)), 1)
    return found


def _loop(config: Config, world: Path, work: Path, steps: int) -> float:
    """CPU milliseconds for each step of a stage, what it does once left out."""
    seconds = []
    for budget in (1, steps + 1):
        stage = PretrainStage(
            image=config.image,
            encoder=config.encoder,
            connector=config.connector,
            decoder=config.decoder,
            data=config.data,
            optimisation=config.optimisation,
            training=replace(config.training, steps=budget, device="cpu"),
            seed=0,
        )
        started = time.process_time()
        run(stage, inputs={"world": world}, work=work / str(budget), stop=lambda: None)
        seconds.append(time.process_time() - started)
    return 1000 * (seconds[1] - seconds[0]) / steps


def _cpu_milliseconds(part: Callable[[], Any]) -> float:
    started = time.process_time()
    part()
    return 1000 * (time.process_time() - started)


if __name__ == "__main__":
    main()
