"""Weight maps worked out by hand, their bounds and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.errors import ConfigError
from aqr_core.models.aqr import MapShapes, QueryCells, WeightMaps, WeightRenderer
from aqr_core.models.aqr.splat import METHODS

SHAPES = MapShapes(bev=(7, 8), image=(2, 4, 6))
COMPOSITIONS = ("mean", "sum")


def queries(*cells, shapes=SHAPES) -> QueryCells:
    """One sample; each query sits at the same cell of the BEV map and of the cameras named: (row, col, *cameras)."""
    count, cameras = len(cells), 0 if shapes.image is None else shapes.image[0]
    position = torch.tensor([[cell[:2] for cell in cells]])
    visible = torch.zeros(1, count, cameras, dtype=torch.bool)
    for query, cell in enumerate(cells):
        visible[0, query, list(cell[2:])] = True
    in_bev = torch.full((1, count), shapes.bev is not None)
    return QueryCells(shapes, position, in_bev, position.unsqueeze(2).expand(1, count, cameras, 2), visible)


def weights(*pairs: tuple[float, float]) -> torch.Tensor:
    return torch.tensor([pairs])


def many(seed: int, count: int = 60) -> tuple[torch.Tensor, QueryCells]:
    """Crowded cells; weights in [0, 2]."""
    generator = torch.Generator().manual_seed(seed)
    cells = [
        (int(torch.randint(0, 4, (), generator=generator)), int(torch.randint(0, 6, (), generator=generator)), i % 2)
        for i in range(count)
    ]
    return 2 * torch.rand(1, count, 2, generator=generator), queries(*cells)


def assert_untouched(maps: torch.Tensor, value: float, *touched: tuple[int, ...]) -> None:
    rest = maps.clone()
    for cell in touched:
        rest[cell] = value
    assert torch.equal(rest, torch.full_like(rest, value))


def test_gaussian_mean_by_hand():
    maps = WeightRenderer()(weights((1.8, 0.4)), queries((3, 4, 1)))
    bev = maps.bev[0]
    assert float(bev[3, 4]) == pytest.approx(1.8)  # sum g = 1
    assert float(bev[3, 5]) == pytest.approx(1 + 0.8 * math.exp(-0.5))
    assert float(bev[2, 5]) == pytest.approx(1 + 0.8 * math.exp(-1))
    assert float(bev[3, 7]) == pytest.approx(1 + 0.8 * math.exp(-4.5))  # at 3 sigma
    assert float(bev[6, 5]) == 1  # sqrt(10) > 3 sigma
    assert int((bev != 1).sum()) == 29  # the cells of a disc of radius 3: none is off the map
    assert float(maps.image[0, 1, 3, 4]) == pytest.approx(0.4)
    assert float(maps.image[0, 1, 3, 2]) == pytest.approx(1 - 0.6 * math.exp(-2))
    assert torch.equal(maps.image[0, 0], torch.ones(4, 6))  # the camera that does not see the query


def test_mean_is_an_average_where_queries_crowd():
    cells = queries((3, 4, 0), (3, 4, 0), (3, 5, 0))
    bev = WeightRenderer()(weights((2.0, 1.0), (0.5, 1.0), (1.5, 1.0)), cells).bev[0]
    near = math.exp(-0.5)
    assert float(bev[3, 4]) == pytest.approx(1 + (1.0 - 0.5 + 0.5 * near) / (2 + near))
    assert float(bev[3, 5]) == pytest.approx(1 + (1.0 * near - 0.5 * near + 0.5) / (2 * near + 1))


def test_bilinear_by_hand():
    renderer = WeightRenderer(render_method="bilinear", composition="sum", min_weight_threshold=0)
    bev = renderer(weights((0.9, 0.0)), queries((3, 4))).bev[0]
    assert bev[2:5, 3:6].flatten().tolist() == pytest.approx([0.1, 0.3, 0.1, 0.3, 0.9, 0.3, 0.1, 0.3, 0.1])
    assert int((bev != 0).sum()) == 9


def test_distance_weighted_by_hand():
    renderer = WeightRenderer(render_method="distance_weighted", composition="sum")
    bev = renderer(weights((0.5, 0.0)), queries((3, 4))).bev[0]
    assert float(bev[3, 6]) == pytest.approx(0.5 * 0.8**2)
    assert float(bev[2, 3]) == pytest.approx(0.5 * 0.8 ** math.sqrt(2))
    assert float(bev[3, 7]) == pytest.approx(0.5 * 0.8**3)
    assert int((bev != 0).sum()) == 29


@pytest.mark.parametrize(("composition", "background"), [("mean", 1.0), ("sum", 0.0)])
def test_direct_takes_the_largest_weight_of_a_cell(composition, background):
    renderer = WeightRenderer(render_method="direct", composition=composition)
    maps = renderer(weights((0.2, 1.5), (0.7, 0.3)), queries((3, 4, 0), (3, 4, 0, 1)))
    assert float(maps.bev[0, 3, 4]) == pytest.approx(0.7)  # also where that is less than the background
    assert float(maps.image[0, 0, 3, 4]) == pytest.approx(1.5) and float(maps.image[0, 1, 3, 4]) == pytest.approx(0.3)
    assert_untouched(maps.bev[0], background, (3, 4))
    assert_untouched(maps.image[0], background, (0, 3, 4), (1, 3, 4))


def test_first_view_leaves_the_second_camera_alone():
    arguments = (weights((1.0, 2.0)), queries((1, 2, 0, 1)))
    both = WeightRenderer()(*arguments).image[0]
    first = WeightRenderer(views="first")(*arguments).image[0]
    assert torch.equal(both[0], both[1]) and torch.equal(first[0], both[0]) and bool((first[1] == 1).all())


def test_what_is_off_the_map_is_dropped():
    bev = WeightRenderer(composition="sum")(weights((1.0, 1.0)), queries((2, 7))).bev[0]
    assert not bev[:, :4].any()  # no wrapping into the next row
    outside = queries((2, 7))
    outside.in_bev[:] = False
    maps = WeightRenderer()(weights((0.0, 0.0)), outside)
    assert bool((maps.bev == 1).all()) and bool((maps.image == 1).all())


@pytest.mark.parametrize("method", METHODS)
def test_samples_do_not_mix(method):
    renderer = WeightRenderer(render_method=method)
    (one, here), (two, there) = many(0), many(1)
    names = ("bev_cell", "in_bev", "image_cell", "visible")
    both = QueryCells(SHAPES, *(torch.cat([getattr(here, name), getattr(there, name)]) for name in names))
    maps = renderer(torch.cat([one, two]), both)
    for sample, alone in enumerate((renderer(one, here), renderer(two, there))):
        torch.testing.assert_close(maps.bev[sample], alone.bev[0])
        torch.testing.assert_close(maps.image[sample], alone.image[0])


@pytest.mark.parametrize("method", METHODS)
def test_neutral_weights_give_maps_of_exactly_one(method):
    _, cells = many(0)
    maps = WeightRenderer(render_method=method)(torch.ones(1, 60, 2), cells)
    assert torch.equal(maps.bev, torch.ones(1, 7, 8)) and torch.equal(maps.image, torch.ones(1, 2, 4, 6))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), method=st.sampled_from(METHODS))
def test_mean_stays_between_the_extremes_and_one(seed, method):
    weight, cells = many(seed)
    maps = WeightRenderer(render_method=method, normalize_weights=False)(weight, cells)
    for part, own in ((maps.bev, weight[..., 0]), (maps.image, weight[..., 1])):
        assert float(part.max()) <= max(1, float(own.max())) + 1e-5
        assert float(part.min()) >= min(1, float(own.min())) - 1e-5


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    method=st.sampled_from(METHODS),
    composition=st.sampled_from(COMPOSITIONS),
    bound=st.floats(0.5, 3),
)
def test_the_clamp_holds_for_both_maps(seed, method, composition, bound):
    weight, cells = many(seed)
    renderer = WeightRenderer(render_method=method, composition=composition, max_weight_clamp=bound)
    maps = renderer(3 * weight - 2, cells)
    for part in (maps.bev, maps.image):
        assert float(part.min()) >= 0 and float(part.max()) <= torch.tensor(bound)


def test_sum_without_the_clamp_grows_with_the_crowd():
    # 70 queries in one cell of a camera: the maximum of 70.8 that the historical maps, unclamped there, had.
    crowd = (weights(*[(1.0, 1.0)] * 70), queries(*[(1, 2, 0)] * 70))
    unbounded = WeightRenderer(composition="sum", normalize_weights=False)(*crowd)
    assert float(unbounded.image.max()) == pytest.approx(70) and float(unbounded.bev.max()) == pytest.approx(70)
    for composition, highest in (("sum", 2.0), ("mean", 1.0)):
        maps = WeightRenderer(composition=composition)(*crowd)
        assert float(maps.image.max()) == float(maps.bev.max()) == highest


def test_the_threshold_acts_on_sums_alone():
    arguments = (weights((0.5, 0.5)), queries((3, 4)))
    cut = WeightRenderer(composition="sum", min_weight_threshold=0.3)(*arguments).bev[0]
    assert int((cut != 0).sum()) == 5  # 0.5 and 0.5 exp(-1/2) = 0.303; 0.5 exp(-1) = 0.184 is below
    kept = WeightRenderer(composition="mean", min_weight_threshold=0.9)(*arguments).bev[0]
    assert float(kept.min()) == pytest.approx(0.5)


@pytest.mark.parametrize("method", METHODS)
def test_one_modality_alone(method):
    renderer = WeightRenderer(render_method=method)
    lidar = renderer(weights((1.5, 0.0)), queries((1, 2), shapes=MapShapes((7, 8), None)))
    assert lidar.image is None and float(lidar.bev.max()) == pytest.approx(1.5)
    camera = renderer(weights((0.0, 1.5)), queries((1, 2, 0), shapes=MapShapes(None, (2, 4, 6))))
    assert camera.bev is None and float(camera.image.max()) == pytest.approx(1.5)


def test_cameras_that_see_nothing_keep_maps_of_one():
    maps = WeightRenderer()(weights((1.5, 1.5)), queries((1, 2), shapes=MapShapes(None, (2, 4, 6))))
    assert bool((maps.image == 1).all())


@pytest.mark.parametrize("composition", COMPOSITIONS)
@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_the_weights_by_finite_differences(method, composition):
    renderer = WeightRenderer(render_method=method, composition=composition, max_weight_clamp=1.4).double()
    weight, cells = many(3, count=8)

    def render(leaf: torch.Tensor) -> torch.Tensor:
        maps = renderer(leaf, cells)
        return torch.cat([maps.bev.flatten(), maps.image.flatten()])

    leaf = weight.double().requires_grad_()
    assert torch.autograd.gradcheck(render, leaf)
    render(leaf).sum().backward()
    assert leaf.grad.any()


def test_equal_weights_in_a_cell_share_the_gradient_of_the_maximum():
    leaf = weights((1.0, 1.0), (1.0, 1.0)).requires_grad_()
    WeightRenderer(render_method="direct")(leaf, queries((3, 4), (3, 4))).bev[0, 3, 4].backward()
    assert leaf.grad[0, :, 0].tolist() == [0.5, 0.5]  # at a neutral start no query is left without


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_float32_under_autocast(method):
    weight, cells = many(0)
    renderer = WeightRenderer(render_method=method, composition="sum")
    expected = renderer(weight.bfloat16().float(), cells)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = renderer(weight.bfloat16(), cells)
    assert maps.bev.dtype == maps.image.dtype == torch.float32
    assert torch.equal(maps.bev, expected.bev) and torch.equal(maps.image, expected.image)


def test_schedule_by_epoch_and_through_a_state_dict():
    schedule = [(0, 2.5), (6, 2.0), (16, 1.5)]
    renderer = WeightRenderer(composition="sum", clamp_schedule=schedule, max_weight_clamp=9.0)
    crowd = (weights(*[(1.0, 1.0)] * 9), queries(*[(1, 2, 0)] * 9))

    def bounds(maps: WeightMaps) -> tuple[float, float]:
        return float(maps.bev.max()), float(maps.image.max())

    assert bounds(renderer(*crowd)) == (2.5, 2.5)
    for epoch, bound in ((0, 2.5), (5, 2.5), (6, 2.0), (15, 2.0), (16, 1.5), (99, 1.5), (7, 2.0)):
        renderer.set_epoch(epoch)
        assert bounds(renderer(*crowd)) == (bound, bound)
    fresh = WeightRenderer(composition="sum", clamp_schedule=schedule)
    fresh.load_state_dict(renderer.state_dict())
    assert bounds(fresh(*crowd)) == (2.0, 2.0)


def test_without_a_schedule_nothing_is_saved_and_epochs_change_nothing():
    renderer = WeightRenderer(max_weight_clamp=1.5)
    renderer.set_epoch(50)
    assert float(renderer.clamp_max) == 1.5 and not renderer.state_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(render_method="cubic"), "render_method is 'cubic'.*'gaussian', 'bilinear', 'direct'"),
        (dict(composition="max"), "composition is 'max'.*'mean' and 'sum'"),
        (dict(gaussian_sigma=0.0), "gaussian_sigma is 0.0.*above 0"),
        (dict(gaussian_sigma=math.nan), "gaussian_sigma is nan"),
        (dict(bilinear_radius=-1.0), "bilinear_radius is -1.0.*above 0"),
        (dict(distance_decay=1.1), r"distance_decay is 1.1.*\(0, 1\]"),
        (dict(distance_decay=0.0), "distance_decay is 0.0"),
        (dict(min_weight_threshold=-0.1), "min_weight_threshold is -0.1.*0 or more"),
        (dict(max_weight_clamp=0.0), "max_weight_clamp is 0.0.*above 0"),
        (dict(views="best"), "'best'"),
        (dict(clamp_schedule=[]), r"clamp_schedule is \[\]; give a list of \(from_epoch, max\)"),
        (dict(clamp_schedule=[(1, 2.0)]), "start at 0"),
        (dict(clamp_schedule=[(0, 2.5), (6, 2.0), (6, 1.5)]), "start at 0 and increase"),
        (dict(clamp_schedule=[(0, 2.5), (16, 2.0), (6, 1.5)]), "start at 0 and increase"),
        (dict(clamp_schedule=[(0, 2.5), (6, 0.0)]), "every max above 0"),
        (dict(clamp_schedule=[(0, 2.5), (6.5, 2.0)]), "clamp_schedule is"),
        (dict(clamp_schedule=[(0, 2.5, 1)]), "clamp_schedule is"),
        (dict(clamp_schedule=2.0), "clamp_schedule is 2.0"),
        (dict(clamp_schedule=[(0, 2.5)], normalize_weights=False), "clamp_schedule needs normalize_weights"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        WeightRenderer(**arguments)
