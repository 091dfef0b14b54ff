"""One run of the model core as frozen data: what is built, trained and scored.

Every field is part of the identity of a result unless it is marked ``execution()``: those change how fast or where
work runs, never what comes out. A knob added later is declared ``knob(default)``: at its neutral default it is
left out of the canonical form, so older keys stay valid. Checks that need one section live in that section's
``__post_init__``; checks across sections live in ``Config``. Standard library only: planning imports this module.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, isqrt
from typing import Any, Literal

from mm1core.errors import ConfigError


def execution(default: Any) -> Any:
    """A field that cannot change the result (workers, device, cadence of saving)."""
    return field(default=default, metadata={"identity": False})


def knob(default: Any) -> Any:
    """A field added after the first release: left out of the identity while it equals ``default``."""
    return field(default=default, metadata={"neutral": default})


def _require(condition: bool, key: str, problem: str, *, written: str = "", known: Sequence[str] = ()) -> None:
    if not condition:
        raise ConfigError(key, problem, written=written, known=known)


def _require_positive(value: float, key: str) -> None:
    _require(value > 0, key, f"{value} must be positive")


def _require_not_negative(value: float, key: str) -> None:
    _require(value >= 0, key, f"{value} must not be negative")


def _require_share(value: float, key: str) -> None:
    _require(0 <= value <= 1, key, f"{value} must be a share between 0 and 1")


def _require_seed(value: int, key: str) -> None:
    _require(0 <= value < 2**32, key, f"{value} must lie between 0 and 2**32 - 1")


def _require_device(name: str, key: str) -> None:
    _require(
        re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name) is not None,
        key,
        f"{name!r} is not a device; use auto, cpu, cuda, or cuda:1 for the second GPU",
        written=name,
        known=("auto", "cpu", "cuda"),
    )


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What the image encoder sees."""

    resolution: int = 48
    """Side of the square input in pixels. More pixels at a fixed patch size are more patches: the paper's axis."""
    patch_size: int = 8
    """Side of a patch in pixels."""
    acuity: int | None = None
    """If set, the image is averaged down to this many pixels and enlarged again: detail changes, patches do not."""

    def __post_init__(self) -> None:
        _require(self.patch_size > 0, "image.patch_size", f"{self.patch_size} must be positive")
        _require(
            self.resolution > 0 and self.resolution % self.patch_size == 0,
            "image.resolution",
            f"{self.resolution} px is not divisible by image.patch_size={self.patch_size}; "
            f"use a multiple such as {max(1, self.resolution // self.patch_size) * self.patch_size}",
        )
        _require(
            self.acuity is None or 0 < self.acuity <= self.resolution,
            "image.acuity",
            f"{self.acuity} px must lie between 1 and image.resolution={self.resolution}",
        )

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.resolution // self.patch_size

    @property
    def num_patches(self) -> int:
        return self.grid**2


@dataclass(frozen=True, kw_only=True)
class EncoderTrainingConfig:
    """The shared stage that pre-trains the image encoder before the decoder sees it."""

    steps: int = 400
    """Optimizer steps."""
    batch_size: int = 96
    """Images (and captions, for CLIP) per step."""
    source: str = "synthetic_captions"
    """The data source whose documents supply the images and captions: a key of ``data.mix``."""
    learning_rate: float = 3e-3
    """AdamW peak rate, for vectors and embeddings."""
    matrix_learning_rate: float = 0.01
    """Muon peak rate, for matrices."""
    warmup_steps: int = 20
    """Steps of linear warm-up."""
    text_layers: int = 1
    """CLIP: layers of the text encoder that is thrown away afterwards."""
    head_layers: int = 2
    """AIM: residual blocks of the pixel head that is thrown away afterwards."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "learning_rate", "matrix_learning_rate", "text_layers", "head_layers"):
            _require_positive(getattr(self, name), f"encoder.training.{name}")
        _require_not_negative(self.warmup_steps, "encoder.training.warmup_steps")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The image encoder: a vision transformer and how it was pre-trained (MM1, Table 1)."""

    objective: Literal["none", "clip", "aim"] = "clip"
    """``clip``: contrastive with captions. ``aim``: next-patch regression. ``none``: random start, no stage."""
    width: int = 64
    """Numbers that stand for a patch between the layers."""
    layers: int = 2
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of a block; they divide the width."""
    mlp_ratio: int = 4
    """Width of the feed-forward layer over ``width``."""
    position_std: float = 0.3
    """Standard deviation of the learned positions at the start."""
    frozen: bool = False
    """Keep the encoder's weights fixed while the decoder trains."""
    seed: int | None = None
    """Seed of the pre-training stage; by default the trial's own, so that seeds are full replicates."""
    training: EncoderTrainingConfig = EncoderTrainingConfig()

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "mlp_ratio"):
            _require_positive(getattr(self, name), f"encoder.{name}")
        _require(
            self.width % self.heads == 0,
            "encoder.width",
            f"{self.width} is not divisible by encoder.heads={self.heads}",
        )
        _require_not_negative(self.position_std, "encoder.position_std")
        if self.seed is not None:
            _require_seed(self.seed, "encoder.seed")


@dataclass(frozen=True, kw_only=True)
class ConnectorConfig:
    """The vision-language connector: patch features to image tokens (MM1, section 3.1; Fig. 4)."""

    kind: Literal["average_pool", "attention_pool", "c_abstractor"] = "average_pool"
    """How patches become image tokens: their mean in each cell, learned queries that attend to them, or convolutions
    around a mean (Honeybee's C-Abstractor)."""
    num_tokens: int = 9
    """Image tokens handed to the decoder per image; a square number."""
    heads: int = 4
    """``attention_pool``: heads of the pooling attention."""
    width: int = 64
    """``c_abstractor``: channels of its convolutions."""
    depth: int = 1
    """``c_abstractor``: RegNet blocks before and after the pooling (Honeybee uses 3)."""
    mlp_depth: int = 2
    """``c_abstractor``: linear layers of the read-out."""
    scale: float = 0.5
    """Image tokens are layer-normed, given a slot embedding and scaled by this, to match word embeddings in size."""

    def __post_init__(self) -> None:
        side = isqrt(max(0, self.num_tokens))
        _require(
            self.num_tokens > 0 and side**2 == self.num_tokens,
            "connector.num_tokens",
            f"{self.num_tokens} must be a square, such as {max(1, side) ** 2} or {(side + 1) ** 2}",
        )
        for name in ("heads", "width", "depth", "mlp_depth"):
            _require_positive(getattr(self, name), f"connector.{name}")


ARCHITECTURES = ("granite", "llama", "mistral", "qwen2", "qwen3", "starcoder2")
"""The ``model_type`` of Transformers that the tests show to pack exactly and to decode through a cache."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """The language model: a causal decoder built by Transformers from this configuration."""

    architecture: str = "starcoder2"
    """A Transformers ``model_type``."""
    width: int = 64
    """Numbers that stand for a token between the layers."""
    layers: int = 3
    """Transformer blocks."""
    heads: int = 4
    """Attention heads of a block; the width over them is even."""
    mlp_ratio: int = 4
    """Width of the feed-forward layer over ``width``. Gated layers get two thirds of it: as many parameters."""
    rope_base: float = 1000.0
    """Base of the rotary positions: larger for longer rows."""
    embedding_std: float = 0.5
    """Standard deviation of the word embeddings (tied to the output) at the start."""
    logits_scale: float = 0.125
    """Logits are multiplied by this."""
    residual_scale: float = 0.3
    """Matrices that write to the residual stream start at this over sqrt(fan-in)."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of the Transformers configuration class, by its own names."""

    def __post_init__(self) -> None:
        for name in ("width", "layers", "heads", "mlp_ratio", "rope_base", "logits_scale"):
            _require_positive(getattr(self, name), f"decoder.{name}")
        for name in ("embedding_std", "residual_scale"):
            _require_not_negative(getattr(self, name), f"decoder.{name}")
        _require(
            self.width % self.heads == 0,
            "decoder.width",
            f"{self.width} is not divisible by decoder.heads={self.heads}",
        )
        _require(
            self.width // self.heads % 2 == 0,
            "decoder.width",
            f"{self.width} gives each of decoder.heads={self.heads} an odd width; rotary positions need an even one",
        )
        _require(
            self.architecture in ARCHITECTURES,
            "decoder.architecture",
            f"{self.architecture!r} is not supported; known are {', '.join(ARCHITECTURES)}",
            written=self.architecture,
            known=ARCHITECTURES,
        )

    @property
    def feed_forward_width(self) -> int:
        """Inner width of the feed-forward layer; gated ones are rounded to a multiple of 8."""
        if self.architecture == "starcoder2":  # the one that is not gated: LayerNorm and GELU
            return self.mlp_ratio * self.width
        return max(8, round(self.mlp_ratio * self.width / 12) * 8)


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """The procedural image-text world: scenes of coloured shapes and a digit, described in dialects."""

    seed: int = 0
    """Seed of the world itself: which scenes exist, which facts hold. Not the trial's seed."""
    train_scenes: int = 12_000
    """Scenes that training draws its documents from."""
    evaluation_scenes: int = 1_500
    """Scenes held out for each of the validation and the test split."""
    cell: int = 16
    """Side of a grid cell in pixels; three cells make the canvas."""
    dialects: int = 3
    """Synonym sets for colours and digits. Nothing in an image says which one a document speaks."""
    alt_text: float = 0.0
    """Share of ``captions`` written as noisy alt-text; ``synthetic_captions`` are always detailed."""
    wrong_colour: float = 0.4
    """Share of alt-texts that name a wrong colour."""
    off_image: float = 0.2
    """Share of statements in interleaved documents that are not about the image before them."""
    fact_names: int = 48
    """Names of which the text-only facts speak."""

    def __post_init__(self) -> None:
        _require_seed(self.seed, "data.world.seed")
        for name in ("train_scenes", "evaluation_scenes", "cell", "fact_names"):
            _require_positive(getattr(self, name), f"data.world.{name}")
        _require(self.cell >= 8, "data.world.cell", f"{self.cell} px have no room for a digit; use at least 8")
        _require(self.fact_names <= 150, "data.world.fact_names", f"{self.fact_names}: there are only 150 names")
        _require(1 <= self.dialects <= 3, "data.world.dialects", f"{self.dialects} must be 1, 2 or 3")
        for name in ("alt_text", "wrong_colour", "off_image"):
            _require_share(getattr(self, name), f"data.world.{name}")


@dataclass(frozen=True, kw_only=True)
class FilesConfig:
    """A data source read from files, instead of the world."""

    format: Literal["webdataset", "jsonl"]
    """``webdataset``: tar shards of image + txt/json members. ``jsonl``: one JSON object with ``text`` per line."""
    paths: tuple[str, ...] = field(metadata={"identity": False})
    """Files or glob patterns. Their names are not identity: ``fingerprint`` is."""
    fingerprint: str = ""
    """Digest of the files' content, filled in when the sweep is read."""
    held_out: float = 0.1
    """Share of samples kept for each of the validation and the test split, chosen by a hash of the sample's key."""
    max_broken: float = 0.01
    """Share of broken members above which indexing stops."""
    max_pixels: int = 50_000_000
    """Images with more pixels than this are quarantined unread (decompression bombs)."""
    group: str | None = None
    """A JSON field: samples that share its value fall in the same split. By default each sample is its own group."""

    def __post_init__(self) -> None:
        _require(len(self.paths) > 0, "data.sources.*.paths", "is empty; name at least one file or pattern")
        _require(
            0 <= self.held_out < 0.5,
            "data.sources.*.held_out",
            f"{self.held_out} must be a share of at least 0 and below 0.5",
        )
        _require_share(self.max_broken, "data.sources.*.max_broken")
        _require_positive(self.max_pixels, "data.sources.*.max_pixels")


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """The tokenizer of file sources: a byte-level BPE trained as a stage, or one loaded from a path."""

    vocabulary: int = 1024
    """Entries of the trained vocabulary."""
    path: str | None = field(default=None, metadata={"identity": False})
    """A ``tokenizer.json`` to use instead of training one."""
    fingerprint: str = ""
    """Digest of the file at ``path``, filled in when the sweep is read."""

    def __post_init__(self) -> None:
        _require(self.vocabulary >= 300, "data.tokenizer.vocabulary", f"{self.vocabulary} must be at least 300")


SOURCE_NAMES = ("captions", "synthetic_captions", "interleaved", "text")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where documents come from, in which proportion, and how they are packed into rows."""

    mix: Mapping[str, float] = field(
        default_factory=lambda: {"captions": 0.45, "interleaved": 0.45, "text": 0.10},
    )
    """Weight of each source, by rows and so by tokens; normalised to sum to one."""
    world: WorldConfig = WorldConfig()
    sources: Mapping[str, FilesConfig] = field(default_factory=dict)
    """Sources read from files, by name. Empty: the world supplies all four."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    row_tokens: int = 160
    """Length of a packed row in tokens, image tokens included."""
    images_per_row: int = 10
    """Most images in a row (MM1: 16 in a sequence of 4,096), so that fewer image tokens do not mean more images."""
    answer_weight: float = 4.0
    """Loss weight of answer words (colour, digit, count, place); other text tokens weigh 1, image tokens 0."""

    def __post_init__(self) -> None:
        known = tuple(self.sources) or SOURCE_NAMES
        for name, weight in self.mix.items():
            _require(
                name in known,
                f"data.mix.{name}",
                f"is not a source; known are {', '.join(known)}",
                written=name,
                known=known,
            )
            _require(weight >= 0, f"data.mix.{name}", f"{weight} must not be negative")
        total = sum(self.mix.values())
        _require(total > 0, "data.mix", "sums to 0; give at least one source a positive weight")
        _require(isfinite(total), "data.mix", "sums to more than a number can hold; only the proportions count")
        for name, source in self.sources.items():
            _require(
                name in SOURCE_NAMES,
                f"data.sources.{name}",
                f"must be one of {', '.join(SOURCE_NAMES)}",
                written=name,
                known=SOURCE_NAMES,
            )
            expected = "jsonl" if name == "text" else "webdataset"
            _require(
                source.format == expected, f"data.sources.{name}.format", f"must be {expected} for the source {name!r}"
            )
        _require_positive(self.row_tokens, "data.row_tokens")
        _require_positive(self.images_per_row, "data.images_per_row")
        _require_not_negative(self.answer_weight, "data.answer_weight")


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    """Optimizers and their schedule."""

    optimizer: Literal["muon", "adamw"] = "muon"
    """``muon``: Muon for matrices, AdamW for the rest. ``adamw``: AdamW for everything."""
    matrix_learning_rate: float = 0.01
    """Muon peak rate."""
    learning_rate: float = 3e-3
    """AdamW peak rate."""
    betas: tuple[float, float] = (0.9, 0.98)
    """AdamW moments."""
    weight_decay: float = 0.0
    """Decoupled decay of AdamW matrices."""
    warmup_steps: int = 20
    """Steps of linear warm-up."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Shape of the decay after ``decay_start``."""
    decay_start: float = 0.5
    """Share of the budget after which the rate decays; before it the rate is constant."""
    final_fraction: float = 0.02
    """Rate at the end over the peak rate (MM1: cosine to 0.1)."""
    gradient_clip: float = 1.0
    """Largest global gradient norm."""

    def __post_init__(self) -> None:
        _require_positive(self.learning_rate, "optimisation.learning_rate")
        _require_positive(self.matrix_learning_rate, "optimisation.matrix_learning_rate")
        _require(
            all(0 <= beta < 1 for beta in self.betas),
            "optimisation.betas",
            f"{list(self.betas)} must be at least 0 and below 1",
        )
        for name in ("weight_decay", "warmup_steps"):
            _require_not_negative(getattr(self, name), f"optimisation.{name}")
        _require_share(self.decay_start, "optimisation.decay_start")
        _require_share(self.final_fraction, "optimisation.final_fraction")
        _require_positive(self.gradient_clip, "optimisation.gradient_clip")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """The budget of the pre-training stage and how it is executed."""

    steps: int = 300
    """Optimizer steps."""
    rows_per_step: int = 8
    """Packed rows in one optimizer step, over all ranks and micro-batches."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the matrix products; ``bf16`` needs a GPU, weights stay in fp32."""
    micro_batches: int = execution(1)
    """Parts in which a step's rows are computed; memory changes, the loss does not."""
    checkpoint_every: int = execution(100)
    """Steps between checkpoints: the most that is repeated after a kill."""
    log_every: int = execution(10)
    """Steps between lines of the spool."""
    shard: bool = execution(False)
    """Spread weights, gradients and optimizer state over the processes of a trial instead of each having all."""
    data_workers: int = execution(0)
    """Processes that prepare batches."""
    device: str = execution("auto")
    """``auto`` takes a GPU where there is one."""

    def __post_init__(self) -> None:
        for name in ("steps", "rows_per_step", "micro_batches", "checkpoint_every", "log_every"):
            _require_positive(getattr(self, name), f"training.{name}")
        _require(
            self.rows_per_step % self.micro_batches == 0,
            "training.micro_batches",
            f"{self.micro_batches} does not divide training.rows_per_step={self.rows_per_step}",
        )
        _require_not_negative(self.data_workers, "training.data_workers")
        _require_device(self.device, "training.device")


def check_shares(training: TrainingConfig, processes: int) -> None:
    """Raises ``ConfigError`` if the rows of a step cannot be divided equally among this many processes."""
    parts = processes * training.micro_batches
    _require(
        training.rows_per_step % parts == 0,
        "training.rows_per_step",
        f"{training.rows_per_step} rows cannot be divided among {processes} processes with "
        f"training.micro_batches={training.micro_batches} each; use a multiple of {parts}",
    )


TASK_NAMES = ("colour", "digit", "count", "captioning", "text_core")
CANDIDATES = 2048
"""Most training samples that demonstrations are drawn from, as many as OpenFlamingo draws from."""
WORLD_CANDIDATES = 512
"""The same for the world: few enough that their image tokens are computed once."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How a trained model is scored. The same items and demonstrations for every arm and seed."""

    tasks: tuple[str, ...] = TASK_NAMES
    """The world has all five; file sources have ``captioning``."""
    shots: tuple[int, ...] = (0, 4, 8)
    """Demonstrations before the query; the demonstrations of fewer shots are the first of those of more."""
    items: int = 512
    """Items per task."""
    split: Literal["validation", "test"] = "test"
    """``validation`` is for choosing settings, ``test`` for reporting them."""
    seed: int = 0
    """Seed of the choice of demonstrations."""
    max_new_tokens: int = 32
    """Most tokens decoded for a caption."""
    every: int | None = None
    """Steps between intermediate scores on the validation split, for pruners; none by default."""
    intermediate_items: int = 128
    """Items per task of an intermediate score."""
    batch_size: int = execution(64)
    """Items decoded side by side."""
    device: str = execution("auto")
    """``auto`` takes a GPU where there is one."""

    def __post_init__(self) -> None:
        _require(len(self.tasks) > 0, "evaluation.tasks", "is empty")
        for name in self.tasks:
            _require(
                name in TASK_NAMES,
                "evaluation.tasks",
                f"{name!r} is not a task; known are {', '.join(TASK_NAMES)}",
                written=name,
                known=TASK_NAMES,
            )
        _require(len(set(self.tasks)) == len(self.tasks), "evaluation.tasks", f"{list(self.tasks)} gives a task twice")
        _require(
            len(self.shots) > 0 and all(shots >= 0 for shots in self.shots) and len(set(self.shots)) == len(self.shots),
            "evaluation.shots",
            f"{list(self.shots)} must be distinct and not negative",
        )
        for name in ("items", "intermediate_items", "batch_size", "max_new_tokens"):
            _require_positive(getattr(self, name), f"evaluation.{name}")
        if self.every is not None:
            _require_positive(self.every, "evaluation.every")
        _require_seed(self.seed, "evaluation.seed")
        _require_device(self.device, "evaluation.device")


@dataclass(frozen=True, kw_only=True)
class Config:
    """One arm: everything but the trial's seed."""

    image: ImageConfig = ImageConfig()
    encoder: EncoderConfig = EncoderConfig()
    connector: ConnectorConfig = ConnectorConfig()
    decoder: DecoderConfig = DecoderConfig()
    data: DataConfig = field(default_factory=DataConfig)
    optimisation: OptimisationConfig = OptimisationConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def __post_init__(self) -> None:
        _require(
            self.connector.num_tokens <= self.image.num_patches,
            "connector.num_tokens",
            f"{self.connector.num_tokens} image tokens cannot come from {self.image.num_patches} patches "
            f"(image.resolution={self.image.resolution}, image.patch_size={self.image.patch_size}); "
            "lower it or raise image.resolution",
        )
        _require(
            self.connector.num_tokens + 2 <= self.data.row_tokens,
            "data.row_tokens",
            f"{self.data.row_tokens} tokens leave no room for one image of {self.connector.num_tokens} tokens and text",
        )
        if self.connector.kind == "attention_pool":
            _require(
                self.decoder.width % self.connector.heads == 0,
                "connector.heads",
                f"{self.connector.heads} does not divide decoder.width={self.decoder.width}, "
                "the width in which attention_pool attends",
            )
        self._check_files()
        self._check_encoder_training()
        if self.evaluation.tasks != ("text_core",):
            candidates = CANDIDATES if self.data.sources else min(WORLD_CANDIDATES, self.data.world.train_scenes)
            _require(
                max(self.evaluation.shots) <= candidates,
                "evaluation.shots",
                f"{max(self.evaluation.shots)} demonstrations cannot come from {candidates} candidates",
            )

    def _check_files(self) -> None:
        if not self.data.sources:
            return
        _require(
            self.evaluation.tasks == ("captioning",),
            "evaluation.tasks",
            f"{list(self.evaluation.tasks)} cannot be evaluated on data.sources; files allow [captioning] only",
        )
        _require(
            bool(self._pictured),
            "data.sources",
            "has no images to ask about; add one of " + ", ".join(name for name in SOURCE_NAMES if name != "text"),
        )
        asked = self._pictured[0]
        _require(
            self.data.sources[asked].held_out > 0,
            f"data.sources.{asked}.held_out",
            "0 leaves nothing to ask about; give the validation and the test split a share",
        )

    def _check_encoder_training(self) -> None:
        if self.encoder.objective == "none":
            return
        source = self.encoder.training.source
        _require(
            source in self._pictured,
            "encoder.training.source",
            f"{source!r} has no images here; use one of {', '.join(self._pictured)}",
            written=source,
            known=self._pictured,
        )
        _require(
            self.encoder.objective != "aim" or self.image.num_patches > 1,
            "encoder.objective",
            f"aim predicts a patch from those before it, and image.resolution={self.image.resolution} with "
            f"image.patch_size={self.image.patch_size} is a single patch",
        )

    @property
    def _pictured(self) -> tuple[str, ...]:
        """The sources that have images, first the one that questions are asked about."""
        known = self.data.sources or SOURCE_NAMES
        return tuple(name for name in SOURCE_NAMES if name in known and name != "text")
