"""What a stage costs, computed from its configuration: parameters, floating-point operations, seconds. Pure.

Parameters are exact for the supported architectures (``decoder.extra`` aside). Operations count matrix products and
attention, with a multiply and an add as two and a backward pass as twice the forward one; images and tokens per step
are expectations. Seconds are operations over a rate: measured on finished stages of similar size, else assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ablations.stages import Stage
from mm1core.config import Config, ConnectorConfig, DataConfig, DecoderConfig, EncoderConfig, ImageConfig
from mm1core.stages import CorpusStage, EncoderStage, EvaluateStage, PretrainStage, TokenizerStage, WorldStage

WORLD_VOCABULARY = 163
"""Words and special tokens of the micro world; a few more or less with its settings."""
TEXT_PER_IMAGE = 8
"""Text tokens that go with an image in a packed row of the micro world, on average."""
CAPTION_TOKENS = 16
"""Tokens of a caption that CLIP reads."""
ANSWER_TOKENS = 4
"""Tokens decoded for an answer, averaged over tasks."""

CPU_RATE = 2.5e10
"""Operations per second of one core with one thread, where nothing was measured: small matrices in fp32."""
GPU_RATE = 2e13
"""Operations per second of one GPU, where nothing was measured: models of some tens of millions of parameters."""
START_SECONDS = 1.0
"""Seconds from a job's start to its first step."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """The work of a stage."""

    parameters: int
    """Parameters of the model it trains or scores; 0 for data."""
    operations: float
    """Floating-point operations; for data stages, as many as take the same time at ``CPU_RATE``."""


def model_parameters(config: Config) -> int:
    """Parameters of the multimodal model, tied ones counted once."""
    return (
        _encoder_parameters(config.image, config.encoder)
        + _connector_parameters(config.connector, config.image, config.encoder.width, config.decoder.width)
        + _decoder_parameters(config.decoder, _vocabulary(config.data))
    )


def decoder_parameters(decoder: DecoderConfig) -> int:
    """Parameters without embeddings: what scaling laws call the size of a model."""
    width = decoder.width
    norm = 2 * width if decoder.architecture == "starcoder2" else width
    extra = {"qwen2": 3 * width, "qwen3": 2 * (width // decoder.heads)}.get(decoder.architecture, 0)
    return decoder.layers * (_decoder_matrices(decoder) + 2 * norm + extra) + norm


def stage_work(stage: Stage, config: Config) -> Work:
    """The work of a stage; ``config`` is that of a trial it belongs to."""
    match stage.config:
        case WorldStage(world=world):
            scenes = world.train_scenes + 2 * world.evaluation_scenes
            return Work(parameters=0, operations=scenes / 8000 * CPU_RATE)
        case CorpusStage() | TokenizerStage():
            return Work(parameters=0, operations=10 * CPU_RATE)
        case EncoderStage():
            return Work(parameters=_encoder_parameters(config.image, config.encoder), operations=_encoder_stage(config))
        case PretrainStage():
            return Work(parameters=model_parameters(config), operations=_pretrain_stage(config))
        case EvaluateStage():
            return Work(parameters=model_parameters(config), operations=_evaluate_stage(config))


class Works:
    """``stage_work`` for many trials whose configurations share sections; each combination is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[object, Work]] = {}

    def of(self, stage: Stage, config: Config) -> Work:
        sections = (
            config.image,
            config.encoder,
            config.connector,
            config.decoder,
            config.data,
            config.training,
            config.evaluation,
        )
        place = (stage.kind, *map(id, sections))
        known = self._known.get(place)
        if known is None:  # keeps the sections, so that their ids are not reused
            known = self._known[place] = (sections, stage_work(stage, config))
        return known[1]


def training_work(stages: Sequence[Stage], config: Config, works: Works) -> Work:
    """The work of those of a trial's stages that train a model, together, even where they are shared with other
    trials."""
    trained = [works.of(stage, config) for stage in stages if isinstance(stage.config, EncoderStage | PretrainStage)]
    return Work(
        parameters=max((one.parameters for one in trained), default=0),
        operations=sum(one.operations for one in trained),
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a finished stage did, and how long it took."""

    operations: float
    seconds: float


class Clock:
    """Turns operations into seconds."""

    def __init__(self, measured: Mapping[str, Sequence[Measured]], *, gpu: bool) -> None:
        """``measured``: finished stages by kind. ``gpu``: whether a trial has a GPU, for what was not measured."""
        self._measured = measured
        self.assumed_rate = GPU_RATE if gpu else CPU_RATE

    def seconds(self, kind: str, work: Work) -> tuple[float, int]:
        """(seconds, number of finished stages that they are based on; 0 for an assumed rate)."""
        like = [
            one
            for one in self._measured.get(kind, ())
            if work.operations / 10 <= one.operations <= 10 * work.operations
        ]
        if not like:
            rate = CPU_RATE if work.parameters == 0 else self.assumed_rate
            return START_SECONDS + work.operations / rate, 0
        rate = sum(one.operations for one in like) / max(1e-3, sum(one.seconds for one in like))
        return work.operations / rate, len(like)


def _vocabulary(data: DataConfig) -> int:
    return data.tokenizer.vocabulary if data.sources else WORLD_VOCABULARY


def _encoder_stage(config: Config) -> float:
    encoder, training = config.encoder, config.encoder.training
    images = training.steps * training.batch_size
    forward = _encoder_forward(config.image, encoder)
    width, patches = encoder.width, config.image.num_patches
    if encoder.objective == "clip":
        forward += 2.0 * CAPTION_TOKENS * 12 * width**2 * training.text_layers
    else:
        forward += 2.0 * patches * (8 * width**2 * training.head_layers + 3 * config.image.patch_size**2 * width)
    return 3 * images * forward


def _pretrain_stage(config: Config) -> float:
    data, training = config.data, config.training
    rows = training.steps * training.rows_per_step
    images = rows * _images_per_row(config)
    encoder = _encoder_forward(config.image, config.encoder) * (1 if config.encoder.frozen else 3)
    connector = 3 * _connector_forward(config.connector, config.image, config.encoder.width, config.decoder.width)
    decoder = 3 * _decoder_forward(config.decoder, _vocabulary(data), tokens=data.row_tokens, seen=data.row_tokens)
    return images * (encoder + connector) + rows * decoder


def _evaluate_stage(config: Config) -> float:
    evaluation = config.evaluation
    image_tokens = config.connector.num_tokens
    shown = [task for task in evaluation.tasks if task != "text_core"]
    pictures = evaluation.items * len(shown) * (1 + max(evaluation.shots))
    encoding = _encoder_forward(config.image, config.encoder) + _connector_forward(
        config.connector, config.image, config.encoder.width, config.decoder.width
    )
    vocabulary = _vocabulary(config.data)
    lengths = [
        (shots + 1) * (image_tokens + TEXT_PER_IMAGE) + ANSWER_TOKENS for shots in evaluation.shots for _ in shown
    ]
    if len(shown) < len(evaluation.tasks):
        lengths.append(TEXT_PER_IMAGE)
    decoding = sum(_decoder_forward(config.decoder, vocabulary, tokens=length, seen=length) for length in lengths)
    return pictures * encoding + evaluation.items * decoding


def _images_per_row(config: Config) -> float:
    """Images in a packed row, over the mix: what fits with the text that goes with them, at most the limit."""
    data = config.data
    total = sum(data.mix.values())
    pictured = sum(weight for name, weight in data.mix.items() if name != "text") / total
    fitting = data.row_tokens / (config.connector.num_tokens + TEXT_PER_IMAGE)
    return pictured * min(data.images_per_row, fitting)


def _encoder_parameters(image: ImageConfig, encoder: EncoderConfig) -> int:
    width = encoder.width
    block = 4 * width**2 + 2 * encoder.mlp_ratio * width**2 + 4 * width
    return 3 * image.patch_size**2 * width + image.num_patches * width + encoder.layers * block + 2 * width


def _encoder_forward(image: ImageConfig, encoder: EncoderConfig) -> float:
    """Operations for one image."""
    patches, width = image.num_patches, encoder.width
    matrices = 3 * image.patch_size**2 * width + encoder.layers * (4 + 2 * encoder.mlp_ratio) * width**2
    return 2.0 * patches * matrices + 4.0 * encoder.layers * patches**2 * width


def _connector_parameters(connector: ConnectorConfig, image: ImageConfig, inner: int, outer: int) -> int:
    tokens = connector.num_tokens
    match connector.kind:
        case "average_pool":
            own = inner * outer + outer
        case "attention_pool":
            norms, biases = 2 * outer + 2 * inner, 3 * outer
            own = tokens * outer + norms + 2 * outer**2 + 2 * inner * outer + biases
        case "c_abstractor":
            width, depth = connector.width, connector.depth
            inputs = [inner] + [width] * (2 * depth - 1)
            readout = width * outer + outer + (connector.mlp_depth - 1) * (outer**2 + outer)
            own = image.num_patches * inner + sum(_block_parameters(entry, width) for entry in inputs) + readout
    return own + 2 * outer + tokens * outer


def _block_parameters(entry: int, width: int) -> int:
    squeezed = max(1, round(entry / 4))
    skip = entry * width + 2 * width if entry != width else 0
    gate = 2 * squeezed * width + squeezed + width
    return entry * width + width**2 + 9 * width + 6 * width + gate + skip


def _connector_forward(connector: ConnectorConfig, image: ImageConfig, inner: int, outer: int) -> float:
    """Operations for one image."""
    tokens, patches = connector.num_tokens, image.num_patches
    match connector.kind:
        case "average_pool":
            return 2.0 * tokens * inner * outer
        case "attention_pool":
            return 4.0 * (patches * inner * outer + tokens * outer**2 + patches * tokens * outer)
        case "c_abstractor":
            width, depth = connector.width, connector.depth
            before = 2.0 * patches * (inner * width + (2 * depth - 1) * width**2 + 9 * depth * width)
            after = 2.0 * tokens * depth * (2 * width**2 + 9 * width)
            readout = 2.0 * tokens * (width * outer + (connector.mlp_depth - 1) * outer**2)
            return before + after + readout


def _decoder_parameters(decoder: DecoderConfig, vocabulary: int) -> int:
    return vocabulary * decoder.width + decoder_parameters(decoder)


def _decoder_matrices(decoder: DecoderConfig) -> int:
    gated = 2 if decoder.architecture == "starcoder2" else 3
    return 4 * decoder.width**2 + gated * decoder.width * decoder.feed_forward_width


def _decoder_forward(decoder: DecoderConfig, vocabulary: int, *, tokens: int, seen: int) -> float:
    """Operations for ``tokens`` in a row, each attending to ``seen``; masked ones are computed too."""
    matrices = decoder.layers * _decoder_matrices(decoder) + vocabulary * decoder.width
    return 2.0 * tokens * matrices + 4.0 * decoder.layers * tokens * seen * decoder.width
