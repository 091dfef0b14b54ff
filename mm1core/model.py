"""The multimodal model: image encoder, connector and decoder, joined by counted placeholders.

An image in a document is ``connector.num_tokens`` copies of the ``<image>`` token, which its image tokens replace in
order. The images of all rows go through the encoder in one batch.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save
from torch import nn

from mm1core.config import ConnectorConfig, DecoderConfig, EncoderConfig, EncoderTrainingConfig, ImageConfig
from mm1core.connectors import Connector
from mm1core.data.rows import Batch
from mm1core.data.text import IMAGE_ID
from mm1core.decoder import build_decoder, packing_mask, word_embeddings
from mm1core.encoder import ImageEncoder, grid_of
from mm1core.errors import DataError
from mm1core.storage import write_atomically


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What a model is built from."""

    image: ImageConfig
    encoder: EncoderConfig
    connector: ConnectorConfig
    decoder: DecoderConfig
    vocabulary_size: int


class MultimodalModel(nn.Module):
    """Rows of text and images to logits. Fresh weights are drawn from torch's global generator."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        # Each part has a generator of its own, so that changing one part leaves the others' initial weights alone.
        encoder_seed, connector_seed, decoder_seed = torch.randint(2**62, (3,)).tolist()
        self.encoder = _seeded(encoder_seed, lambda: ImageEncoder(config.image, config.encoder))
        self.connector = _seeded(
            connector_seed,
            lambda: Connector(
                config.connector,
                in_width=config.encoder.width,
                out_width=config.decoder.width,
                grid=(config.image.grid, config.image.grid),
            ),
        )
        self.decoder = _seeded(decoder_seed, lambda: build_decoder(config.decoder, config.vocabulary_size))
        if config.encoder.frozen:
            self.encoder.requires_grad_(False)

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks of encoder and decoder: most of the weights."""
        layers = self.decoder.base_model.layers
        assert isinstance(layers, nn.ModuleList)
        return [*self.encoder.blocks, *layers]

    def forward(self, batch: Batch) -> torch.Tensor:
        """Logits (R, L, V). Images beyond those that have a name are encoded but not used."""
        image_tokens = self.encode_images(batch.images)[: len(batch.image_names)]
        embedded = self.embed(batch.tokens, image_tokens, batch.image_names)
        logits: torch.Tensor = self.decoder(
            inputs_embeds=embedded,
            attention_mask=packing_mask(batch.documents, embedded.dtype),
            position_ids=batch.positions,
            use_cache=False,
        ).logits
        return logits

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Image tokens (N, M, D) of uint8 images (N, 3, H, W)."""
        if len(images) == 0:
            return self.connector.slot.new_zeros(0, *self.connector.slot.shape)
        tokens: torch.Tensor = self.connector(self.encoder(images), grid_of(images, self.config.image.patch_size))
        return tokens

    def embed(self, tokens: torch.Tensor, image_tokens: torch.Tensor, image_names: Sequence[str]) -> torch.Tensor:
        """Embeddings (R, L, D) of tokens (R, L), with image tokens (N, M, D) at the placeholders, in order.

        ``image_names`` has one name per image. Raises ``DataError`` unless every image has a run of exactly M
        placeholders in one row.
        """
        embedded: torch.Tensor = word_embeddings(self.decoder)(tokens)
        rows, columns = (tokens == IMAGE_ID).nonzero(as_tuple=True)
        number, size = image_tokens.shape[:2]
        _check_placeholders(rows, columns, number=number, size=size, names=image_names)
        values = image_tokens.flatten(0, 1).to(embedded.dtype)
        return embedded.index_put((rows, columns), values)


def save_model(model: MultimodalModel, folder: Path) -> None:
    """Write ``model.json`` and ``model.safetensors``. Raises ``StorageError`` where that fails."""
    description = json.dumps(asdict(model.config), indent=2, sort_keys=True)
    write_atomically(folder / "model.json", lambda file: file.write(description.encode()))
    save_weights(model, folder / "model.safetensors")


def load_model(folder: Path, device: torch.device | str) -> MultimodalModel:
    """The model that a ``pretrain`` stage left in ``folder``, in evaluation mode."""
    model = MultimodalModel(_read_config(json.loads((folder / "model.json").read_text())))
    load_weights(model, folder / "model.safetensors")
    return model.to(device).eval()


def save_weights(module: nn.Module, path: Path) -> None:
    """The weights in the safetensors format; tied ones once."""
    weights, seen = {}, set()
    for name, tensor in module.state_dict().items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            weights[name] = tensor.detach().cpu().contiguous()
            seen.add(tensor.data_ptr())
    content = save(weights)
    write_atomically(path, lambda file: file.write(content))


def load_weights(module: nn.Module, path: Path) -> None:
    """Read what ``save_weights`` wrote. Raises ``DataError`` naming the first weights that do not fit."""
    found = load_file(path)
    expected = module.state_dict()
    tied = {tensor.data_ptr() for name, tensor in expected.items() if name in found}
    missing = [name for name, tensor in expected.items() if name not in found and tensor.data_ptr() not in tied]
    wrong = [name for name, tensor in found.items() if name not in expected or expected[name].shape != tensor.shape]
    if missing or wrong:
        raise DataError(f"{path}: these weights belong to another model; first differences: {[*missing, *wrong][:3]}")
    module.load_state_dict(found, strict=False)


def _check_placeholders(
    rows: torch.Tensor, columns: torch.Tensor, *, number: int, size: int, names: Sequence[str]
) -> None:
    whole = min(number, len(rows) // size)
    runs, starts = rows[: whole * size].view(whole, size), columns[: whole * size].view(whole, size)
    steps = torch.arange(size, device=columns.device)
    broken = ((runs != runs[:, :1]) | (starts != starts[:, :1] + steps)).any(dim=1)
    if len(rows) == number * size and not broken.any():
        return
    first = int(broken.nonzero()[0]) if bool(broken.any()) else whole
    where = names[first] if first < len(names) else f"after {names[-1]}" if names else "a row without images"
    raise DataError(
        f"{where}: {len(rows)} image placeholders for {number} images of {size} tokens each; "
        f"every image needs {size} placeholders in a row"
    )


_Part = TypeVar("_Part", bound=nn.Module)


def _seeded(seed: int, build: Callable[[], _Part]) -> _Part:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _read_config(described: dict[str, Any]) -> ModelConfig:
    encoder = described["encoder"]
    return ModelConfig(
        image=ImageConfig(**described["image"]),
        encoder=EncoderConfig(**{**encoder, "training": EncoderTrainingConfig(**encoder["training"])}),
        connector=ConnectorConfig(**described["connector"]),
        decoder=DecoderConfig(**described["decoder"]),
        vocabulary_size=described["vocabulary_size"],
    )
