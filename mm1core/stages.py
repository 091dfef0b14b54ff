"""The stages the model core can run: what each takes, and where its function lives.

A stage function has one signature::

    run(stage, *, inputs: Mapping[str, Path], work: Path, stop: Callable[[], str | None]) -> dict[str, JSON]

``inputs`` maps a role (``world``, ``corpus:captions``, ``tokenizer``, ``encoder``, ``pretrain``) to the work folder of
a finished stage. The function writes below ``work`` only, continues from what it finds there, and returns the result
that goes into the record: numbers and short strings that are equal on every run. ``stop()`` gives ``None``,
``"preempted"`` or ``"pruned"``; when it gives a reason the function saves its state at the next step and raises
``Interrupted(reason)``.

A stage's configuration holds only what its inputs do not already stand for. Standard library only.
"""

from dataclasses import dataclass, field

from mm1core.config import (
    ConnectorConfig,
    DataConfig,
    DecoderConfig,
    EncoderConfig,
    EvaluationConfig,
    FilesConfig,
    ImageConfig,
    OptimisationConfig,
    TokenizerConfig,
    TrainingConfig,
    WorldConfig,
    execution,
)


@dataclass(frozen=True, kw_only=True)
class WorldStage:
    """Scenes, images, facts and the word-level tokenizer of the micro world. No inputs."""

    world: WorldConfig


@dataclass(frozen=True, kw_only=True)
class CorpusStage:
    """The index of the files of a source: offsets, splits, quarantine list. No inputs.

    Sources that read the same files in the same way share it.
    """

    source: str = field(metadata={"identity": False})
    """Used only in errors: a key of ``data.sources``."""
    files: FilesConfig


@dataclass(frozen=True, kw_only=True)
class TokenizerStage:
    """A byte-level BPE for file sources. Inputs: ``corpus:<source>`` of every source."""

    tokenizer: TokenizerConfig


@dataclass(frozen=True, kw_only=True)
class EncoderStage:
    """A pre-trained image encoder. Inputs: the data (``world``, or ``corpus:<source>`` and ``tokenizer``)."""

    image: ImageConfig
    encoder: EncoderConfig
    seed: int
    training: TrainingConfig
    """Only ``precision`` and the execution fields are used; the budget is ``encoder.training``."""


@dataclass(frozen=True, kw_only=True)
class PretrainStage:
    """A trained multimodal model. Inputs: the data, and ``encoder`` unless it starts at random."""

    image: ImageConfig
    encoder: EncoderConfig
    """``objective``, ``training`` and ``seed`` at their defaults: the key of the input ``encoder`` stands for them."""
    connector: ConnectorConfig
    decoder: DecoderConfig
    data: DataConfig
    """``world``, ``sources`` and ``tokenizer`` at their defaults: the keys of the data inputs stand for them."""
    optimisation: OptimisationConfig
    training: TrainingConfig
    seed: int
    intermediate: EvaluationConfig | None = execution(None)
    """With ``every`` set: score that often on the validation split, into the spool."""


@dataclass(frozen=True, kw_only=True)
class EvaluateStage:
    """Scores of a trained model. Inputs: ``pretrain`` and the data."""

    evaluation: EvaluationConfig


StageConfig = WorldStage | CorpusStage | TokenizerStage | EncoderStage | PretrainStage | EvaluateStage


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """How a kind of stage is run, and the version of its meaning."""

    config: type
    version: int
    """Bumped when the same configuration would give another result; older records then no longer count."""
    target: str
    """``module:function``, imported only where the stage runs."""


KINDS: dict[str, StageKind] = {
    "world": StageKind(config=WorldStage, version=2, target="mm1core.world.build:run"),
    "corpus": StageKind(config=CorpusStage, version=1, target="mm1core.data.corpus:run"),
    "tokenizer": StageKind(config=TokenizerStage, version=1, target="mm1core.data.tokenizer:run"),
    "encoder": StageKind(config=EncoderStage, version=1, target="mm1core.objectives.pretrain_encoder:run"),
    "pretrain": StageKind(config=PretrainStage, version=2, target="mm1core.train:run"),
    "evaluate": StageKind(config=EvaluateStage, version=1, target="mm1core.evaluation.evaluate:run"),
}
