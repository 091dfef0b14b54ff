"""The loss: which tokens count, how much, and that micro-batches change nothing."""

from collections.abc import Iterator

import pytest
import tiny_training as tiny
import torch

from mm1core.config import DecoderConfig
from mm1core.loss import target_weights, weighted_sum

IN_DOUBLE = DecoderConfig(width=16, layers=2, heads=2, architecture="starcoder2")  # the others norm in fp32


def test_loss_equals_a_loop_over_tokens():
    batch = tiny.batch(rows=4)
    logits = torch.randn(*batch.tokens.shape, len(tiny.WORDS), dtype=torch.float64)
    total = weight = 0.0
    for row in range(4):
        for place in range(1, batch.tokens.shape[1]):
            document = int(batch.documents[row, place])
            if document < 0 or document != int(batch.documents[row, place - 1]):
                continue
            scores = logits[row, place - 1]
            likelihood = scores[batch.tokens[row, place]].exp() / scores.exp().sum()
            total -= float(batch.weights[row, place]) * float(likelihood.log())
            weight += float(batch.weights[row, place])
    found = weighted_sum(logits, batch.tokens, batch.weights, batch.documents)
    assert float(found[0]) == pytest.approx(total, rel=1e-12)
    assert float(found[1]) == weight > 0


def test_the_first_token_of_a_document_is_no_target():
    documents = torch.tensor([[0, 0, 1, 1, -1, -1]])
    found = target_weights(torch.ones(1, 6), documents)
    assert found.tolist() == [[1, 0, 1, 0, 0]]


def test_nothing_to_learn_is_a_loss_of_zero_with_finite_gradients():
    batch = tiny.batch(rows=2)
    logits = torch.randn(*batch.tokens.shape, len(tiny.WORDS), requires_grad=True)
    loss, weight = weighted_sum(logits, batch.tokens, torch.zeros_like(batch.weights), batch.documents)
    loss.backward()
    assert (loss.item(), weight.item()) == (0.0, 0.0)
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def gradients(micro_batches: int) -> tuple[float, dict[str, torch.Tensor]]:
    model = tiny.model(decoder=IN_DOUBLE).double()
    batch = tiny.batch(rows=6)
    loss = 0.0
    for share, _ in shares(model, batch, micro_batches):
        share.backward()
        loss += float(share)
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}


def shares(model, batch, micro_batches) -> Iterator:
    return tiny.learner(model, rows_per_step=6, micro_batches=micro_batches).shares(batch)


@pytest.mark.parametrize("micro_batches", [2, 3, 6])
def test_loss_and_gradients_do_not_depend_on_micro_batches(micro_batches):
    whole, expected = gradients(1)
    loss, found = gradients(micro_batches)
    assert loss == pytest.approx(whole, rel=1e-12)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)


def test_the_mean_of_means_would_be_another_loss():
    # else the test above could not tell a wrong normaliser from the right one
    batch = tiny.batch(rows=6)
    model = tiny.model()
    parts = [weighted_sum(model(part), part.tokens, part.weights, part.documents) for part in batch.split(6)]
    means = sum(float(loss / weight) for loss, weight in parts) / 6
    whole = sum(float(share) for share, _ in shares(model, batch, 1))
    assert abs(means - whole) > 1e-4
