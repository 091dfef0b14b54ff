"""Schedule values, which optimizer takes which weight, and Muon's update."""

from math import cos, pi

import pytest
import tiny_training as tiny
import torch
from torch import nn

from mm1core.config import ConnectorConfig, EncoderConfig, OptimisationConfig
from mm1core.optimisers import BatchedMuon, build_optimisers, schedule, set_rates


def rates(total: int, **settings) -> list[float]:
    return [schedule(step, total, OptimisationConfig(**settings)) for step in range(total)]


def test_linear_schedule_warms_up_stays_and_falls_to_its_last_value():
    found = rates(20, warmup_steps=4, decay_start=0.5, final_fraction=0.02)
    assert found[:4] == [0.25, 0.5, 0.75, 1.0]
    assert found[4:10] == [1.0] * 6
    assert found[10:] == pytest.approx([0.02 + 0.98 * (1 - k / 10) for k in range(1, 11)])
    assert found[-1] == pytest.approx(0.02)


def test_cosine_schedule_of_the_paper_ends_at_a_tenth():
    found = rates(100, warmup_steps=1, decay_start=0.0, final_fraction=0.1, schedule="cosine")
    assert found == pytest.approx([0.1 + 0.9 * (1 + cos(pi * (step + 1) / 100)) / 2 for step in range(100)])


def test_warm_up_and_decay_may_overlap_and_decay_may_be_absent():
    assert rates(4, warmup_steps=4, decay_start=0.0, final_fraction=0.0) == pytest.approx([3 / 16, 4 / 16, 3 / 16, 0.0])
    assert rates(3, warmup_steps=0, decay_start=1.0) == [1.0, 1.0, 1.0]


def test_rates_follow_the_peak_of_each_group():
    optimisers = build_optimisers(tiny.model(), OptimisationConfig(matrix_learning_rate=0.01, learning_rate=0.003))
    set_rates(optimisers, 0.5)
    set_rates(optimisers, 0.1)
    assert sorted({group["lr"] for one in optimisers for group in one.param_groups}) == pytest.approx([0.0003, 0.001])


def taken(model, optimiser) -> set[str]:
    held = {id(parameter) for group in optimiser.param_groups for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in held}


def test_muon_takes_the_matrices_of_linear_layers_and_adamw_the_rest():
    model = tiny.model(connector=ConnectorConfig(num_tokens=4, kind="c_abstractor", width=8))
    muon, adamw = (taken(model, one) for one in build_optimisers(model, OptimisationConfig()))
    assert muon | adamw == {name for name, _ in model.named_parameters()}
    assert not muon & adamw
    assert {"encoder.patch.weight", "connector.pool.readout.0.weight"} <= muon
    assert any(name.endswith("q_proj.weight") for name in muon)
    for name in ("encoder.position", "connector.slot", "connector.norm.weight", "connector.pool.readout.0.bias"):
        assert name in adamw
    assert any("depthwise" in name for name in adamw)
    assert any("embed_tokens" in name for name in adamw)


def test_adamw_alone_takes_everything_and_decays_matrices_only():
    model = tiny.model()
    (adamw,) = build_optimisers(model, OptimisationConfig(optimizer="adamw", weight_decay=0.1))
    assert taken(model, adamw) == {name for name, _ in model.named_parameters()}
    decayed = {id(p) for group in adamw.param_groups if group["weight_decay"] for p in group["params"]}
    assert {name for name, p in model.named_parameters() if id(p) in decayed} == {
        name
        for name, p in model.named_parameters()
        if p.ndim == 2 and "embed" not in name and name not in ("encoder.position", "connector.slot")
    }


def test_a_frozen_encoder_is_left_out():
    model = tiny.model(encoder=EncoderConfig(objective="none", width=16, layers=2, heads=2, frozen=True))
    for optimiser in build_optimisers(model, OptimisationConfig()):
        assert not any(name.startswith("encoder.") for name in taken(model, optimiser))


SHAPES = [(8, 8), (8, 8), (24, 8), (8, 24), (12, 8)]


def matrices() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def steps(optimiser_class, count: int, **settings) -> list[torch.Tensor]:
    parameters = matrices()
    optimiser = optimiser_class(parameters, lr=0.1, **settings)
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimiser.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("settings", [{}, {"nesterov": False}, {"weight_decay": 0.0}])
def test_batched_muon_is_pytorchs_muon_up_to_its_bf16(settings):
    for ours, theirs, start in zip(
        steps(BatchedMuon, 3, **settings), steps(torch.optim.Muon, 3, **settings), matrices(), strict=True
    ):
        moved = (theirs - start).norm()
        assert (ours - theirs).norm() < 0.03 * moved
        assert moved > 0.1


def test_muon_moves_along_an_orthogonal_matrix_scaled_by_shape():
    for (rows, columns), parameter, start in zip(
        SHAPES, steps(BatchedMuon, 1, weight_decay=0.0), matrices(), strict=True
    ):
        values = torch.linalg.svdvals((start - parameter) / 0.1)
        expected = max(1, rows / columns) ** 0.5
        assert values.min() > 0.5 * expected
        assert values.max() < 1.3 * expected


def test_matrices_without_a_gradient_stay():
    parameters = matrices()
    parameters[0].grad = torch.ones_like(parameters[0])
    optimiser = BatchedMuon(parameters, lr=0.1)
    optimiser.step()
    assert not torch.equal(parameters[0], matrices()[0])
    for parameter, start in zip(parameters[1:], matrices()[1:], strict=True):
        assert torch.equal(parameter, start)
