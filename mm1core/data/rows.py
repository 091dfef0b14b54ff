"""Documents packed into rows of fixed length, and rows into steps.

Row ``index`` is a pure function of (seed, index): the same whatever the number of workers, micro-batches or ranks, and
wherever training starts. A row holds whole documents of one source; attention must stay inside a document
(``documents``) and positions restart with each. Padding is at the end.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset

from mm1core.config import DataConfig, ImageConfig
from mm1core.data.document import Document, Picture, Source
from mm1core.data.pixels import prepare
from mm1core.data.text import PAD_ID, encode
from mm1core.errors import DataError
from mm1core.ranks import ALONE, Ranks

_GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: multiples of it, modulo 2^64, fill the circle as evenly as any sequence can."""


_MISSES = 4
"""Documents skipped before a row is closed: enough to fill nine tenths, few enough not to distort document lengths."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One packed row of length L = ``data.row_tokens``."""

    tokens: np.ndarray
    """(L,) int64."""
    weights: np.ndarray
    """(L,) float32: the loss weight of the token as a target; 0 for ``<bos>``, image slots and padding."""
    documents: np.ndarray
    """(L,) int64: the number of the token's document within the row, -1 for padding."""
    positions: np.ndarray
    """(L,) int64: position within the document; 0 for padding."""
    images: np.ndarray
    """(n, 3, H, W) uint8, in order of appearance."""
    names: tuple[str, ...]
    """One per document."""
    image_names: tuple[str, ...]
    """One per image."""
    cut: int
    """Documents that were longer than a row and lost their end: 0 or 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Rows as tensors; see ``Row``. R rows, N images over all rows in row order."""

    tokens: torch.Tensor
    """(R, L) int64."""
    weights: torch.Tensor
    """(R, L) float32."""
    documents: torch.Tensor
    """(R, L) int64."""
    positions: torch.Tensor
    """(R, L) int64."""
    images: torch.Tensor
    """(N, 3, H, W) uint8."""
    names: tuple[str, ...]
    """One per document, over all rows."""
    image_names: tuple[str, ...]
    """One per image, over all rows."""
    row_documents: tuple[int, ...]
    """Documents in each row."""
    row_images: tuple[int, ...]
    """Images in each row."""
    cut: int
    """Documents over all rows that lost their end."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on ``device``."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            weights=self.weights.to(device),
            documents=self.documents.to(device),
            positions=self.positions.to(device),
            images=self.images.to(device),
        )

    def split(self, micro_batches: int) -> list["Batch"]:
        """Equal parts of consecutive rows. ``cut`` stays with the first, so that sums over parts are right."""
        rows = len(self.tokens)
        if rows % micro_batches:
            raise ValueError(f"{rows} rows do not divide into {micro_batches} micro-batches")
        size = rows // micro_batches
        document_ends = [0, *accumulate(self.row_documents)]
        image_ends = [0, *accumulate(self.row_images)]
        parts = []
        for start in range(0, rows, size):
            end = start + size
            images = slice(image_ends[start], image_ends[end])
            parts.append(
                Batch(
                    tokens=self.tokens[start:end],
                    weights=self.weights[start:end],
                    documents=self.documents[start:end],
                    positions=self.positions[start:end],
                    images=self.images[images],
                    names=self.names[document_ends[start] : document_ends[end]],
                    image_names=self.image_names[images],
                    row_documents=self.row_documents[start:end],
                    row_images=self.row_images[start:end],
                    cut=0 if start else self.cut,
                )
            )
        return parts


def stack(rows: Sequence[Row]) -> Batch:
    """The rows as one batch."""
    return Batch(
        tokens=torch.from_numpy(np.stack([row.tokens for row in rows])),
        weights=torch.from_numpy(np.stack([row.weights for row in rows])),
        documents=torch.from_numpy(np.stack([row.documents for row in rows])),
        positions=torch.from_numpy(np.stack([row.positions for row in rows])),
        images=torch.from_numpy(np.concatenate([row.images for row in rows])),
        names=tuple(name for row in rows for name in row.names),
        image_names=tuple(name for row in rows for name in row.image_names),
        row_documents=tuple(len(row.names) for row in rows),
        row_images=tuple(len(row.images) for row in rows),
        cut=sum(row.cut for row in rows),
    )


class RowStream:
    """The endless sequence of packed rows of one seed."""

    def __init__(
        self,
        *,
        seed: int,
        mix: Mapping[str, float],
        sources: Mapping[str, Source],
        tokenizer: Tokenizer,
        data: DataConfig,
        image: ImageConfig,
        num_image_tokens: int,
    ) -> None:
        """Raises ``DataError`` if a source with a positive weight is missing."""
        # Sorted, since the order in which a mix is written is not part of its identity.
        self._names = sorted(name for name, weight in mix.items() if weight > 0)
        for name in self._names:
            if name not in sources:
                raise DataError(
                    f"data.mix.{name}: there is no such source here; known are {', '.join(sorted(sources))}"
                )
        self._sources = dict(sources)
        total = sum(mix[name] for name in self._names)
        self._bounds = [round(end / total * 2**64) for end in accumulate(mix[name] for name in self._names)]
        self._bounds[-1] = 2**64
        self._seed = seed
        self._phase = int.from_bytes(sha256(f"source of a row {seed}".encode()).digest()[:8], "big")
        self._tokenizer = tokenizer
        self._data = data
        self._image = image
        self._num_image_tokens = num_image_tokens

    def source(self, index: int) -> str:
        """The source that row ``index`` is filled from. Any few consecutive rows are close to the mix."""
        return self._names[bisect_right(self._bounds, (self._phase + index * _GOLDEN) % 2**64)]

    def row(self, index: int) -> Row:
        """The row with global index ``index``: documents 0, 1, 2, ... of its source, except those that do not fit.

        After ``_MISSES`` of these the row is closed; a first document longer than a row loses its end.
        """
        source = self._sources[self.source(index)]
        packed: list[_Encoded] = []
        tokens = images = slot = misses = cut = 0
        while misses < _MISSES and tokens < self._data.row_tokens:
            document = self._encode(source.document(seed=self._seed, row=index, slot=slot))
            if slot == 0 and not self._fits(document):
                document, cut = self._shorten(document), 1
            slot += 1
            if not self._fits(document, tokens=tokens, images=images):
                misses += 1
                continue
            packed.append(document)
            tokens += len(document.tokens)
            images += len(document.pictures)
        return self._pack(packed, cut)

    def _encode(self, document: Document) -> "_Encoded":
        tokens, weights, pictures = encode(
            document,
            self._tokenizer,
            num_image_tokens=self._num_image_tokens,
            answer_weight=self._data.answer_weight,
        )
        return _Encoded(document=document, tokens=tokens, weights=weights, pictures=pictures)

    def _fits(self, document: "_Encoded", *, tokens: int = 0, images: int = 0) -> bool:
        return (
            tokens + len(document.tokens) <= self._data.row_tokens
            and images + len(document.pictures) <= self._data.images_per_row
        )

    def _shorten(self, long: "_Encoded") -> "_Encoded":
        """A document too long for a row, without its end: cut after a text if possible, else within a text."""
        parts = long.document.parts
        for count in range(len(parts) - 1, 0, -1):
            if isinstance(parts[count - 1], Picture):
                continue  # a picture at the end has nothing after it to learn from
            shorter = self._encode(replace(long.document, parts=parts[:count]))
            if self._fits(shorter):
                return shorter
        # Not even the first stretch of text fits: keep the pictures before it and as much of it as there is room for.
        pictures = next((i for i, part in enumerate(parts) if not isinstance(part, Picture)), len(parts))
        if pictures == len(parts) or not self._fits(
            self._encode(replace(long.document, parts=parts[:pictures])), tokens=1
        ):
            raise DataError(
                f"{long.document.name}: its first {pictures} pictures do not fit into a row of "
                f"data.row_tokens={self._data.row_tokens} tokens and data.images_per_row={self._data.images_per_row} "
                f"images at {self._num_image_tokens} tokens per image; raise them or lower connector.num_tokens"
            )
        length = self._data.row_tokens
        return replace(
            long, tokens=long.tokens[:length], weights=long.weights[:length], pictures=long.pictures[:pictures]
        )

    def _pack(self, packed: Sequence["_Encoded"], cut: int) -> Row:
        length = self._data.row_tokens
        tokens = np.full(length, PAD_ID, np.int64)
        weights = np.zeros(length, np.float32)
        documents = np.full(length, -1, np.int64)
        positions = np.zeros(length, np.int64)
        start = 0
        for number, document in enumerate(packed):
            end = start + len(document.tokens)
            tokens[start:end] = document.tokens
            weights[start:end] = document.weights
            documents[start:end] = number
            positions[start:end] = np.arange(end - start)
            start = end
        pictures = [prepare(picture.pixels, self._image) for document in packed for picture in document.pictures]
        side = self._image.resolution
        return Row(
            tokens=tokens,
            weights=weights,
            documents=documents,
            positions=positions,
            images=np.stack(pictures) if pictures else np.zeros((0, 3, side, side), np.uint8),
            names=tuple(document.document.name for document in packed),
            image_names=tuple(
                f"{document.document.name} image {number}"
                for document in packed
                for number in range(len(document.pictures))
            ),
            cut=cut,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Encoded:
    document: Document
    tokens: list[int]
    weights: list[float]
    pictures: list[Picture]


def steps(
    stream: RowStream,
    *,
    first_step: int,
    total_steps: int,
    rows_per_step: int,
    workers: int,
    ranks: Ranks = ALONE,
) -> "DataLoader[Batch]":
    """Batches of the steps ``first_step`` to ``total_steps - 1``, in order.

    Step s holds rows s * rows_per_step to (s + 1) * rows_per_step - 1, so the step alone is the position in the data.
    Each of several processes has an equal part of these rows, in order. ``workers`` processes prepare batches; their
    number changes nothing else.
    """
    return DataLoader(
        _Steps(stream, first_step=first_step, total_steps=total_steps, rows_per_step=rows_per_step, ranks=ranks),
        batch_size=None,
        shuffle=False,
        num_workers=workers,
        # A loader draws a seed when iteration starts. From the global generator, that would make a resumed run differ.
        generator=torch.Generator(),
    )


class _Steps(Dataset[Batch]):
    def __init__(
        self, stream: RowStream, *, first_step: int, total_steps: int, rows_per_step: int, ranks: Ranks
    ) -> None:
        self._stream = stream
        self._first_step = first_step
        self._count = max(0, total_steps - first_step)
        self._rows_per_step = rows_per_step
        self._ranks = ranks

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < self._count:
            raise IndexError(number)
        share = self._rows_per_step // self._ranks.count
        first = (self._first_step + number) * self._rows_per_step + self._ranks.index * share
        return stack([self._stream.row(index) for index in range(first, first + share)])
