"""From one configuration and a seed to the chain of stages that makes its scores, each with its key.

Pure: no disk, clock, environment or torch. A stage's configuration holds only what its inputs do not already stand for,
so arms that differ later in the chain share what comes earlier. Fields that have no effect in it, such as the heads of
a connector without attention, are at their defaults, so arms that differ in nothing else are seen to be the same work.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeVar

from ablations.identity import Encoder, digest, key_of_text
from mm1core.config import (
    Config,
    ConnectorConfig,
    DataConfig,
    EncoderConfig,
    EncoderTrainingConfig,
    EvaluationConfig,
    OptimisationConfig,
    TokenizerConfig,
    TrainingConfig,
    WorldConfig,
)
from mm1core.stages import (
    KINDS,
    CorpusStage,
    EncoderStage,
    EvaluateStage,
    PretrainStage,
    StageConfig,
    TokenizerStage,
    WorldStage,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One piece of work: what it is and where its inputs come from."""

    kind: str
    """A key of ``mm1core.stages.KINDS``."""
    key: str
    """Twelve hex digits; the stage's folder is ``store/<kind>/<key>``."""
    version: int
    config: StageConfig
    inputs: Mapping[str, str]
    """Role (as in ``mm1core.stages``) to the key of the stage that plays it; the role's kind is ``input_kind``."""


def input_kind(role: str) -> str:
    """The kind of stage that plays a role: ``corpus:captions`` is played by a ``corpus``."""
    return role.partition(":")[0]


class Chains:
    """Builds chains, and remembers what equal sections of the configuration have in common."""

    def __init__(self) -> None:
        self._encoder = Encoder()
        self._memory: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def chain(self, config: Config, seed: int) -> tuple[Stage, ...]:
        """The stages of a trial in an order in which each comes after its inputs; the last is ``evaluate``."""
        data, data_inputs = self._data_stages(config.data)
        encoder = self._encoder_stage(config, seed, data_inputs)
        inputs = data_inputs if encoder is None else {**data_inputs, "encoder": encoder.key}
        pretrain = self._stage(
            "pretrain",
            PretrainStage(
                image=config.image,
                encoder=self._once(_bare_encoder, config.encoder),
                connector=self._once(_used_connector, config.connector),
                decoder=config.decoder,
                data=self._once(_bare_data, config.data),
                optimisation=self._once(_used_optimisation, config.optimisation),
                training=config.training,
                seed=seed,
                intermediate=config.evaluation if config.evaluation.every is not None else None,
            ),
            inputs,
        )
        evaluate = self._stage(
            "evaluate", self._once(_evaluate_stage, config.evaluation), {**data_inputs, "pretrain": pretrain.key}
        )
        return (*data, *(() if encoder is None else (encoder,)), pretrain, evaluate)

    def arm_key(self, config: Config) -> str:
        """Twelve hex digits that name a configuration without its seed."""
        return digest(self._encoder.text(replace(config, data=self._once(_normalised_data, config.data))))

    def _data_stages(self, data: DataConfig) -> tuple[tuple[Stage, ...], Mapping[str, str]]:
        """The stages that make the data, and the roles they play for all others."""

        def build() -> tuple[tuple[Stage, ...], Mapping[str, str]]:
            if not data.sources:
                world = self._stage("world", WorldStage(world=data.world), {})
                return (world,), {"world": world.key}
            corpora = {
                f"corpus:{name}": self._stage("corpus", CorpusStage(source=name, files=files), {})
                for name, files in sorted(data.sources.items())
            }
            keys = {role: stage.key for role, stage in corpora.items()}
            tokenizer = self._stage("tokenizer", TokenizerStage(tokenizer=data.tokenizer), keys)
            distinct = {stage.key: stage for stage in corpora.values()}  # one index may serve several sources
            return (*distinct.values(), tokenizer), {**keys, "tokenizer": tokenizer.key}

        return self._remembered(("data", id(data)), data, build)

    def _encoder_stage(self, config: Config, seed: int, inputs: Mapping[str, str]) -> Stage | None:
        encoder = config.encoder
        if encoder.objective == "none":
            return None
        own_seed = seed if encoder.seed is None else encoder.seed
        parts = (config.image, encoder, config.training)
        place = ("encoder", *map(id, parts), own_seed, *inputs.values())

        def build() -> Stage:
            stage = EncoderStage(
                image=config.image,
                encoder=replace(
                    encoder, seed=None, frozen=EncoderConfig.frozen, training=_used_encoder_training(encoder)
                ),
                seed=own_seed,
                training=_encoder_execution(config.training),
            )
            return self._stage("encoder", stage, inputs)

        return self._remembered(place, parts, build)

    def _stage(self, kind: str, config: StageConfig, inputs: Mapping[str, str]) -> Stage:
        version = KINDS[kind].version
        key = key_of_text(kind=kind, version=version, config=self._encoder.text(config), inputs=inputs)
        return Stage(kind=kind, key=key, version=version, config=config, inputs=inputs)

    def _once(self, function: "Callable[[Section], Result]", section: "Section") -> "Result":
        return self._remembered((function, id(section)), section, lambda: function(section))

    def _remembered(self, place: tuple[Any, ...], held: Any, build: Callable[[], Any]) -> Any:
        """What ``build`` gave for this place, built once. Holding the objects keeps their ids from being reused."""
        known = self._memory.get(place)
        if known is None:
            known = self._memory[place] = (held, build())
        return known[1]


Section = TypeVar("Section")
Result = TypeVar("Result")


def _bare_encoder(encoder: EncoderConfig) -> EncoderConfig:
    return replace(encoder, objective=EncoderConfig.objective, training=EncoderTrainingConfig(), seed=None)


_IDLE_IN_CONNECTOR = {
    "average_pool": ("heads", "width", "depth", "mlp_depth"),
    "attention_pool": ("width", "depth", "mlp_depth"),
    "c_abstractor": ("heads",),
}
_IDLE_IN_OPTIMISATION = {"muon": ("weight_decay",), "adamw": ("matrix_learning_rate",)}
_IDLE_IN_ENCODER_TRAINING = {"clip": ("head_layers",), "aim": ("text_layers",)}
"""Fields that nothing reads, by the kind, the optimizer and the objective."""


def _used_connector(connector: ConnectorConfig) -> ConnectorConfig:
    return _at_defaults(connector, _IDLE_IN_CONNECTOR[connector.kind])


def _used_optimisation(optimisation: OptimisationConfig) -> OptimisationConfig:
    return _at_defaults(optimisation, _IDLE_IN_OPTIMISATION[optimisation.optimizer])


def _used_encoder_training(encoder: EncoderConfig) -> EncoderTrainingConfig:
    return _at_defaults(encoder.training, _IDLE_IN_ENCODER_TRAINING[encoder.objective])


def _at_defaults(section: Any, names: Sequence[str]) -> Any:
    return replace(section, **{name: getattr(type(section), name) for name in names})


def _bare_data(data: DataConfig) -> DataConfig:
    return replace(data, mix=normalised_mix(data.mix), world=WorldConfig(), sources={}, tokenizer=TokenizerConfig())


def _normalised_data(data: DataConfig) -> DataConfig:
    return replace(data, mix=normalised_mix(data.mix))


def _evaluate_stage(evaluation: EvaluationConfig) -> EvaluateStage:
    """Intermediate scores are the pre-training's business and do not change the final ones."""
    final = replace(evaluation, every=None, intermediate_items=EvaluationConfig.intermediate_items)
    return EvaluateStage(evaluation=final)


def _encoder_execution(training: TrainingConfig) -> TrainingConfig:
    """The encoder stage takes its budget from ``encoder.training``; of this section, precision and execution count."""
    defaults = TrainingConfig()
    return replace(
        training,
        steps=defaults.steps,
        rows_per_step=defaults.rows_per_step,
        micro_batches=defaults.micro_batches,
    )


def normalised_mix(mix: Mapping[str, float]) -> dict[str, float]:
    """Weights that sum to one, in the order of their names, zeros left out: 45/45/10 equals 0.45/0.45/0.10.

    Computed in exact decimal fractions, so that equal proportions give equal numbers however they were written.
    """
    exact = {name: Fraction(str(weight)) for name, weight in sorted(mix.items()) if weight > 0}
    total = sum(exact.values())
    return {name: float(weight / total) for name, weight in exact.items()}
