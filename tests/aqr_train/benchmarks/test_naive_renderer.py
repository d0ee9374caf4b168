"""The vectorised weight renderer against a loop over queries and cells, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.models.aqr import MapShapes, QueryCells, WeightMaps, WeightRenderer
from aqr_core.models.aqr.splat import METHODS
from aqr_core.models.aqr.weight_renderer import COMPOSITIONS
from aqr_train.benchmarks.naive_renderer import render_naively


def scattered_queries(
    seed: int, shapes: MapShapes, batch: int = 2, queries: int = 12
) -> tuple[torch.Tensor, QueryCells]:
    """Float64 weights in [-0.5, 2.5] and cells anywhere on the maps, one in five off them."""
    generator = torch.Generator().manual_seed(seed)

    def cells(shape: tuple[int, ...], *size: int) -> torch.Tensor:
        return torch.stack([torch.randint(0, edge, size, generator=generator) for edge in shape], dim=-1)

    cameras = 0 if shapes.image is None else shapes.image[0]
    located = QueryCells(
        shapes,
        bev_cell=cells(shapes.bev or (1, 1), batch, queries),
        in_bev=torch.rand(batch, queries, generator=generator) < 0.8 if shapes.bev else torch.zeros(batch, queries) > 0,
        image_cell=cells((shapes.image or (0, 1, 1))[1:], batch, queries, cameras),
        visible=torch.rand(batch, queries, cameras, generator=generator) < 0.4,
    )
    weights = torch.rand(batch, queries, 2, generator=generator, dtype=torch.float64) * 3 - 0.5
    return weights, located


def assert_close(maps: WeightMaps, expected: WeightMaps) -> None:
    for part, wanted in ((maps.bev, expected.bev), (maps.image, expected.image)):
        assert (part is None) == (wanted is None)
        if part is not None:
            torch.testing.assert_close(part, wanted, atol=1e-6, rtol=0)


SHAPES = MapShapes(bev=(7, 9), image=(3, 4, 6))


@pytest.mark.parametrize("views", ["all", "first"])
@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_the_loop(method: str, composition: str, views: str, dtype: torch.dtype) -> None:
    renderer = WeightRenderer(render_method=method, composition=composition, views=views).to(dtype)
    weights, cells = scattered_queries(0, SHAPES)
    weights = weights.to(dtype)
    assert_close(renderer(weights, cells), render_naively(renderer, weights, cells))


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("method", METHODS)
def test_gradients_equal_those_of_the_loop(method: str, composition: str) -> None:
    renderer = WeightRenderer(render_method=method, composition=composition, max_weight_clamp=6.0).double()
    weights, cells = scattered_queries(1, MapShapes((3, 4), (2, 2, 3)), batch=1, queries=12)
    gradients = []
    for render in (renderer, lambda w, c: render_naively(renderer, w, c)):
        leaf = weights.clone().requires_grad_()
        maps = render(leaf, cells)
        (maps.bev.square().sum() + maps.image.sin().sum()).backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=0)
    assert gradients[0].any()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    bev=st.none() | st.tuples(st.integers(1, 6), st.integers(1, 6)),
    image=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    method=st.sampled_from(METHODS),
    composition=st.sampled_from(COMPOSITIONS),
    views=st.sampled_from(["all", "first"]),
    sigma=st.floats(0.2, 1.5),
    radius=st.floats(0.3, 3),
    decay=st.floats(0.1, 1),
    clamp=st.none() | st.floats(0.5, 3),
)
def test_equals_the_loop_whatever_the_settings(
    seed: int,
    bev: tuple[int, int] | None,
    image: tuple[int, int, int] | None,
    method: str,
    composition: str,
    views: str,
    sigma: float,
    radius: float,
    decay: float,
    clamp: float | None,
) -> None:
    if bev is None and image is None:
        return
    renderer = WeightRenderer(
        render_method=method,
        composition=composition,
        views=views,
        gaussian_sigma=sigma,
        bilinear_radius=radius,
        distance_decay=decay,
        normalize_weights=clamp is not None,
        max_weight_clamp=clamp or 2.0,
    ).double()
    weights, cells = scattered_queries(seed, MapShapes(bev, image), batch=1, queries=4)
    assert_close(renderer(weights, cells), render_naively(renderer, weights, cells))
