"""Image tokens of the pictures an evaluation shows, each distinct picture encoded once.

Demonstrations recur across items, tasks and numbers of shots, so the encoder and the connector would otherwise do most
of an evaluation's work many times over. Pictures are identified by content. They are encoded in chunks of a fixed size
in the order in which they first occur, so that image tokens do not depend on the batch size of decoding. The table
holds ``num_tokens x width`` numbers per picture on the model's device; pixels are released once encoded.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch

from mm1core.data.pixels import prepare
from mm1core.model import MultimodalModel

_CHUNK = 64


class PictureTable:
    """Pictures by number, and their image tokens."""

    def __init__(self, model: MultimodalModel) -> None:
        self.device = next(model.parameters()).device
        self._model = model
        self._numbers: dict[tuple[tuple[int, ...], bytes], int] = {}
        self._waiting: list[np.ndarray] = []
        self._encoded: list[torch.Tensor] = []

    def number(self, pixels: np.ndarray) -> int:
        """The number of a picture as stored, (height, width, 3) uint8; the same content has the same number."""
        content = (pixels.shape, blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest())
        number = self._numbers.get(content)
        if number is None:
            number = self._numbers[content] = len(self._numbers)
            self._waiting.append(prepare(pixels, self._model.config.image))
            if len(self._waiting) == _CHUNK:
                self._encode()
        return number

    def tokens(self, numbers: Sequence[int]) -> torch.Tensor:
        """Image tokens (N, M, D) of the pictures with these numbers, in this order."""
        if not numbers:
            config = self._model.config
            return torch.empty(0, config.connector.num_tokens, config.decoder.width, device=self.device)
        if self._waiting:
            self._encode()
        if len(self._encoded) > 1:
            self._encoded = [torch.cat(self._encoded)]
        return self._encoded[0][torch.tensor(numbers, device=self.device)]

    def _encode(self) -> None:
        images = torch.from_numpy(np.stack(self._waiting)).to(self.device)
        with torch.no_grad():
            self._encoded.append(self._model.encode_images(images))
        self._waiting.clear()
