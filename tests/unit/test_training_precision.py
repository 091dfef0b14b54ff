"""Mixed precision: the same model and loss under bf16 autocast, whose kernels a CPU has too."""

import pytest
import tiny_training as tiny
import torch

from mm1core.config import ARCHITECTURES, ConnectorConfig, DecoderConfig


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["average_pool", "attention_pool", "c_abstractor"])
def test_loss_and_gradients_under_bf16_are_close_to_fp32(architecture, kind):
    found = []
    for enabled in (False, True):
        model = tiny.model(
            connector=ConnectorConfig(num_tokens=4, kind=kind, heads=2, width=16),
            decoder=DecoderConfig(width=16, layers=2, heads=2, architecture=architecture),
        )
        batch = tiny.batch(rows=4)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            ((share, _),) = tiny.learner(model, rows_per_step=4).shares(batch)
        share.backward()
        assert share.dtype == torch.float32
        assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
        found.append((share.detach(), torch.cat([parameter.grad.flatten() for parameter in model.parameters()])))
    (loss, gradient), (mixed_loss, mixed_gradient) = found
    torch.testing.assert_close(mixed_loss, loss, rtol=0.02, atol=0)
    assert not torch.equal(mixed_gradient, gradient)
    assert torch.cosine_similarity(mixed_gradient, gradient, dim=0) > 0.98
