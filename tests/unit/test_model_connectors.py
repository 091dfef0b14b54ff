"""Connectors against an oracle written another way: channels first, convolutions, windows and heads in loops."""

from math import ceil, floor, isqrt

import pytest
import torch
import torch.nn.functional as F

from mm1core.config import ConnectorConfig
from mm1core.connectors import Connector

KINDS = ["average_pool", "attention_pool", "c_abstractor"]
GRIDS = [((4, 4), 4), ((4, 4), 16), ((5, 5), 9), ((3, 5), 4), ((6, 4), 9), ((2, 7), 1)]
IN, OUT, NUMBER = 8, 12, 3


def build(kind: str, grid: tuple[int, int], num_tokens: int, *, usual=None, **settings) -> Connector:
    torch.manual_seed(0)
    config = ConnectorConfig(kind=kind, num_tokens=num_tokens, **({"width": 10, "heads": 3, "depth": 2} | settings))
    connector = Connector(config, in_width=IN, out_width=OUT, grid=usual or grid).double()
    with torch.no_grad():  # fresh norms and biases are neutral: a dropped one would pass
        for name, parameter in connector.named_parameters():
            parameter.normal_(mean=1.0 if name.endswith("norm.weight") else 0.0, std=0.3)
    return connector


def features(grid: tuple[int, int]) -> torch.Tensor:
    return torch.randn(NUMBER, grid[0] * grid[1], IN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("grid", "num_tokens"), GRIDS)
def test_connector_equals_the_oracle_with_all_its_gradients(kind, grid, num_tokens):
    connector = build(kind, grid, num_tokens)
    x = features(grid)
    probe = torch.randn(NUMBER, num_tokens, OUT, dtype=torch.float64)
    found, expected = [], []
    for compute, into in [(lambda x: connector(x, grid), found), (lambda x: oracle(connector, x, grid), expected)]:
        connector.zero_grad()
        leaf = x.clone().requires_grad_()
        output = compute(leaf)
        (output * probe).sum().backward()
        into += [output.detach(), leaf.grad, *(parameter.grad.clone() for parameter in connector.parameters())]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("settings", [{"width": IN}, {"depth": 1, "mlp_depth": 1}, {"depth": 3, "mlp_depth": 3}])
def test_c_abstractor_equals_the_oracle_at_other_depths_and_widths(settings):
    connector = build("c_abstractor", (5, 4), 9, **settings)
    x = features((5, 4))
    torch.testing.assert_close(connector(x, (5, 4)), oracle(connector, x, (5, 4)), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_changes_the_output(kind):
    connector = build(kind, (4, 4), 4)
    x = features((4, 4))
    before = connector(x, (4, 4))
    for name, parameter in connector.named_parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter))
        assert not torch.allclose(connector(x, (4, 4)), before, atol=1e-6), name
        with torch.no_grad():
            parameter.copy_(kept)


@pytest.mark.parametrize("kind", KINDS)
def test_input_is_not_modified(kind):
    connector = build(kind, (4, 4), 4)
    x = features((4, 4))
    kept = x.clone()
    connector(x, (4, 4))
    assert torch.equal(x, kept)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("grid", [(4, 4), (8, 8), (3, 6)])
def test_another_grid_than_the_usual_gives_the_same_number_of_tokens(kind, grid):
    connector = build(kind, grid, 4, usual=(4, 4))
    assert connector(features(grid), grid).shape == (NUMBER, 4, OUT)


def test_average_pool_before_or_after_the_linear_layer_is_the_same():
    connector = build("average_pool", (5, 5), 9)
    x = features((5, 5))
    project = connector.pool.project
    after = _windows((x @ project.weight.T + project.bias).unflatten(1, (5, 5)), 3).flatten(1, 2)
    torch.testing.assert_close(connector.pool(x, (5, 5)), after, rtol=1e-12, atol=1e-12)


def test_attention_pool_is_pytorchs_multihead_attention_of_normed_queries_and_features():
    connector = build("attention_pool", (4, 4), 4)
    pool, x = connector.pool, features((4, 4))
    theirs = torch.nn.MultiheadAttention(OUT, 3, kdim=IN, vdim=IN, batch_first=True).double()
    with torch.no_grad():
        theirs.q_proj_weight.copy_(pool.query.weight)
        theirs.k_proj_weight.copy_(pool.key.weight)
        theirs.v_proj_weight.copy_(pool.value.weight)
        # a bias of the keys shifts all scores of a query alike, so whatever it is it changes nothing
        theirs.in_proj_bias.copy_(torch.cat([pool.query.bias, torch.randn(OUT), pool.value.bias]))
        theirs.out_proj.weight.copy_(pool.out.weight)
        theirs.out_proj.bias.copy_(pool.out.bias)
    query = pool.query_norm(pool.queries).expand(NUMBER, -1, -1)
    normed = pool.feature_norm(x)
    torch.testing.assert_close(pool(x, (4, 4)), theirs(query, normed, normed)[0], rtol=1e-9, atol=1e-10)


def test_a_fresh_regnet_block_is_its_shortcut():
    connector = Connector(
        ConnectorConfig(kind="c_abstractor", width=IN, depth=2), in_width=IN, out_width=OUT, grid=(4, 4)
    )
    x = torch.randn(2, 4, 4, IN)
    for block in (*connector.pool.before, *connector.pool.after):
        torch.testing.assert_close(block(x), torch.nn.functional.silu(x))


def test_attention_pool_does_not_depend_on_the_order_of_features_and_c_abstractor_does():
    x = features((4, 4))
    shuffled = x[:, torch.randperm(16, generator=torch.Generator().manual_seed(2))]
    attention, abstractor = build("attention_pool", (4, 4), 4), build("c_abstractor", (4, 4), 4)
    torch.testing.assert_close(attention(shuffled, (4, 4)), attention(x, (4, 4)))
    assert not torch.allclose(abstractor(shuffled, (4, 4)), abstractor(x, (4, 4)))


def oracle(connector: Connector, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The whole connector again, from its weights alone."""
    weights = dict(connector.named_parameters())
    kind = type(connector.pool).__name__
    pooled = {"AveragePool": _average, "AttentionPool": _attention, "CAbstractor": _abstractor}[kind](weights, x, grid)
    return (_norm(pooled, weights, "norm") + weights["slot"][None]) * connector.scale


def _norm(x: torch.Tensor, weights: dict, name: str) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _windows(x: torch.Tensor, side: int) -> torch.Tensor:
    """(N, h, w, D) to (N, side, side, D)."""
    height, width = x.shape[1:3]
    rows = []
    for i in range(side):
        row = []
        for j in range(side):
            window = x[
                :,
                floor(i * height / side) : ceil((i + 1) * height / side),
                floor(j * width / side) : ceil((j + 1) * width / side),
            ]
            row.append(window.sum(dim=(1, 2)) / (window.shape[1] * window.shape[2]))
        rows.append(torch.stack(row, 1))
    return torch.stack(rows, 1)


def _average(weights: dict, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    pooled = _windows(x.reshape(NUMBER, *grid, -1), isqrt(len(weights["slot"]))).reshape(NUMBER, -1, IN)
    return torch.einsum("oi,nti->nto", weights["pool.project.weight"], pooled) + weights["pool.project.bias"]


def _attention(weights: dict, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    features = _norm(x, weights, "pool.feature_norm")
    queries = _norm(weights["pool.queries"], weights, "pool.query_norm")
    q = queries @ weights["pool.query.weight"].T + weights["pool.query.bias"]
    k = features @ weights["pool.key.weight"].T
    v = features @ weights["pool.value.weight"].T + weights["pool.value.bias"]
    heads = []
    for start in range(0, OUT, OUT // 3):
        part = slice(start, start + OUT // 3)
        scores = torch.einsum("qd,nkd->nqk", q[:, part], k[:, :, part]) / (OUT // 3) ** 0.5
        heads.append(torch.softmax(scores, -1) @ v[:, :, part])
    return torch.cat(heads, -1) @ weights["pool.out.weight"].T + weights["pool.out.bias"]


def _abstractor(weights: dict, x: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    x = (x + weights["pool.position"][None]).transpose(1, 2).reshape(NUMBER, IN, *grid)
    for index in range(_count(weights, "pool.before")):
        x = _regnet(weights, f"pool.before.{index}", x)
    x = _windows(x.permute(0, 2, 3, 1), isqrt(len(weights["slot"]))).permute(0, 3, 1, 2)
    for index in range(_count(weights, "pool.after")):
        x = _regnet(weights, f"pool.after.{index}", x)
    x = x.flatten(2).transpose(1, 2)
    for index in range(_count(weights, "pool.readout")):
        x = x * torch.sigmoid(x) if index else x
        x = x @ weights[f"pool.readout.{index}.weight"].T + weights[f"pool.readout.{index}.bias"]
    return x


def _count(weights: dict, prefix: str) -> int:
    return len({name[len(prefix) + 1 :].split(".")[0] for name in weights if name.startswith(prefix + ".")})


def _regnet(weights: dict, name: str, x: torch.Tensor) -> torch.Tensor:
    """The formulae of the RegNet bottleneck on (N, C, h, w)."""
    squeezed = weights[f"{name}.squeeze.weight"]
    assert len(squeezed) == round(0.25 * x.shape[1])

    def conv(x, part):
        return F.conv2d(x, weights[f"{name}.{part}.weight"][:, :, None, None])

    def norm(x, part):
        return _norm(x.permute(0, 2, 3, 1), weights, f"{name}.{part}").permute(0, 3, 1, 2)

    def silu(x):
        return x * torch.sigmoid(x)

    a = silu(norm(conv(x, "enter"), "enter_norm"))
    kernel = weights[f"{name}.depthwise.weight"]
    padded = F.pad(a, (1, 1, 1, 1))
    b = sum(
        padded[:, :, i : i + x.shape[2], j : j + x.shape[3]] * kernel[None, :, 0, i, j, None, None]
        for i in range(3)
        for j in range(3)
    )
    b = silu(norm(b, "depthwise_norm"))
    s = silu(conv(b.mean((2, 3), keepdim=True), "squeeze") + weights[f"{name}.squeeze.bias"][:, None, None])
    g = torch.sigmoid(conv(s, "excite") + weights[f"{name}.excite.bias"][:, None, None])
    c = norm(conv(b * g, "leave"), "leave_norm")
    skip = norm(conv(x, "skip"), "skip_norm") if f"{name}.skip.weight" in weights else x
    return silu(c + skip)
