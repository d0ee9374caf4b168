"""The router head: who decodes what, where gradients go, and what is refused; parity is in test_golden_mome.py."""

from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.projection import MapShapes
from aqr_core.models.aqr.windows import build_windows
from aqr_core.models.head.mome_cells import locate_like_mome
from aqr_core.models.head.router import RouterTransformer
from aqr_core.models.head.router_head import router_loss
from aqr_core.models.head.router_output import EXPERTS, RouterOutput
from aqr_core.registry import MODELS, build

BRANCHES = ("cls_logits", "center", "height", "dim", "rot", "vel")
PC_RANGE = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)
BOTH, LIDAR, CAMERAS = (True, True), (True, False), (False, True)


def decoder(channels: int = 128, layers: int = 3, dropout: float = 0.0) -> dict:
    attention = dict(embed_dims=channels, num_heads=4, dropout=dropout)
    return dict(
        type="PETRTransformerDecoder",
        num_layers=layers,
        transformerlayers=dict(
            type="PETRTransformerDecoderLayer",
            attn_cfgs=[dict(type="MultiheadAttention", **attention), dict(type="PETRMultiheadAttention", **attention)],
            ffn_cfgs=dict(type="FFN", embed_dims=channels, feedforward_channels=2 * channels),
        ),
    )


def router(**settings) -> dict:
    """A transformer config without dropout."""
    encoder = dict(feedforward_channels=64, dropout=0.0)
    return dict(type="RouterTransformer", decoder=decoder(), encoder=encoder, window_sizes=[3, 5], **settings)


@pytest.fixture
def routed(build_tiny_head):
    """A head in evaluation mode whose router sends queries to every expert."""
    head = build_tiny_head(type="RouterHead", transformer=router(use_cam_embed=True)).eval()
    with torch.no_grad():
        torch.nn.init.normal_(head.transformer.selected_cls.weight)
        for norm in head.transformer.cam_embed[1::2]:
            torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return head


def send_all_to(head, expert: str) -> None:
    with torch.no_grad():
        head.transformer.selected_cls.weight.zero_()
        head.transformer.selected_cls.bias.copy_(10.0 * torch.tensor([name == expert for name in EXPERTS]))


def working(*samples: tuple[bool, bool]) -> torch.Tensor:
    return torch.tensor(samples)


def assert_same(a, b, **tolerance) -> None:
    for name in BRANCHES:
        torch.testing.assert_close(getattr(a, name)[0], getattr(b, name)[0], **tolerance)


@torch.no_grad()
def test_a_new_router_over_cmt_weights_predicts_what_cmt_predicts(build_tiny_head, tiny_inputs):
    baseline = build_tiny_head(transformer=dict(type="CmtTransformer", decoder=decoder())).eval()
    head = build_tiny_head(type="RouterHead", transformer=router(use_type_embed=False)).eval()
    missing = head.load_state_dict(baseline.state_dict(), strict=False).missing_keys
    assert all(key.startswith(("transformer.encoder.", "transformer.selected_cls.")) for key in missing)
    out = head(*tiny_inputs)
    assert not out.route.logits.any() and not out.route.choice.any()
    assert_same(out, baseline(*tiny_inputs), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_each_expert_alone_is_the_first_stage(routed, tiny_inputs):
    bev, images, *rest = tiny_inputs
    given = dict(fused=(bev, images), bev=(bev, None), img=(None, images))
    for name in EXPERTS:
        send_all_to(routed, name)
        out = routed(bev, images, *rest)
        assert (out.route.choice == EXPERTS.index(name)).all() and routed.aqr_scalars()[f"route_{name}"] == 1
        alone = routed(*given[name], *rest)  # a detector with these sensors alone has one possible expert
        assert_same(out, alone, atol=1e-5, rtol=1e-5)
        assert name == "fused" or (not hasattr(alone, "route") and routed.last_route is None)


@torch.no_grad()
def test_queries_see_only_those_of_their_expert_and_return_to_their_places(routed, tiny_inputs):
    bev, images, lidar2img, pad_shape = tiny_inputs
    out = routed(*tiny_inputs)
    choice = out.route.choice
    assert all((choice == index).any(dim=1).all() for index in range(3))  # in both samples
    shapes = MapShapes(bev=tuple(bev.shape[-2:]), image=(images.shape[1], *images.shape[-2:]))
    reference = routed.references(2, None)
    tokens, codes = routed.tokens(bev, images), routed.position_codes(reference, shapes, lidar2img, pad_shape)
    for sample, chosen in enumerate(choice):
        strangers = chosen[:, None] != chosen
        expected = torch.empty(3, 100, 128)
        for index, name in enumerate(EXPERTS):
            expert = routed._prepare_expert(name, tokens, codes, shapes.num_bev)
            memory, memory_pos, query_pos, values = (part[sample : sample + 1] for part in expert)
            every = routed.transformer(memory, memory_pos, query_pos, mask=strangers, values=values)[:, 0]
            expected[:, chosen == index] = every[:, chosen == index]
        boxes = routed.predict_boxes(expected[:, None], reference[:1])
        for name in BRANCHES:  # at every decoder layer
            ours, theirs = getattr(out, name)[0][:, sample], getattr(boxes, name)[0][:, 0]
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_batch_of_two_is_two_batches_of_one(routed, tiny_inputs):
    bev, images, lidar2img, pad_shape = tiny_inputs
    both = routed(*tiny_inputs)
    assert not torch.equal(both.route.choice[0], both.route.choice[1])
    for sample in range(2):
        part = slice(sample, sample + 1)
        one = routed(bev[part], images[part], lidar2img[part], pad_shape)
        assert torch.equal(one.route.choice[0], both.route.choice[sample])
        for name in BRANCHES:
            torch.testing.assert_close(
                getattr(one, name)[0][:, 0], getattr(both, name)[0][:, sample], atol=1e-5, rtol=1e-5
            )


def test_half_precision_decodes(routed, tiny_inputs):
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        out = routed(*tiny_inputs)
    assert out.center[0].dtype == torch.float32 and out.center[0].isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_a_gpu_routes_and_decodes_as_the_cpu(routed, tiny_inputs):
    bev, images, lidar2img, pad_shape = tiny_inputs
    expected = routed(*tiny_inputs)
    out = routed.cuda()(bev.cuda(), images.cuda(), lidar2img.cuda(), pad_shape)
    assert torch.equal(out.route.choice.cpu(), expected.route.choice)
    for name in BRANCHES:
        torch.testing.assert_close(getattr(out, name)[0].cpu(), getattr(expected, name)[0], atol=1e-3, rtol=1e-3)


def test_the_second_stage_decodes_nothing_and_trains_the_router_alone(routed, tiny_inputs, tiny_truth):
    boxes, labels = tiny_truth
    routed.train()
    routed.transformer.decoder.forward = None  # not to be called
    out = routed(*tiny_inputs, routed.make_denoising(boxes, labels, [1, 2]))
    assert out.route.logits.shape == (2, 100, 3) and not out.experts and not out.cls_logits
    losses = routed.loss(out, boxes, labels, working(BOTH, LIDAR))
    assert list(losses) == ["router_loss"]
    losses["router_loss"].backward()
    learning = {name for name, p in routed.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning == {
        name
        for name, _ in routed.named_parameters()
        if name.startswith(("transformer.encoder.", "transformer.selected_cls."))
    }


def test_both_stages_in_one_run(build_tiny_head, tiny_inputs, tiny_truth):
    boxes, labels = tiny_truth
    bev, images, *rest = tiny_inputs
    head = build_tiny_head(type="RouterHead", transformer=router(use_cam_embed=True, train_experts=True)).train()
    head.transformer.cam_embed.eval()
    head.shared_conv.eval()
    torch.nn.init.normal_(head.transformer.selected_cls.weight)  # at 0 it holds back the encoder's gradient
    denoising = head.make_denoising(boxes, labels, [1, 2])
    out = head(bev, images, *rest, denoising)
    losses = head.loss(out, boxes, labels, working(BOTH, CAMERAS))

    given = dict(fused=(bev, images), bev=(bev, None), img=(None, images))
    send_all_to(head.eval(), "fused")  # the first stage, by the code of the plain head
    for name, maps in given.items():
        alone = super(type(head), head).forward(*maps, *rest, denoising)
        for term, value in head.criterion(alone, boxes, labels).items():
            torch.testing.assert_close(losses.pop(f"{term}_{name}"), value, atol=1e-4, rtol=1e-4)
    assert list(losses) == ["router_loss"]


def test_gradients_of_both_stages(build_tiny_head, tiny_inputs, tiny_truth):
    boxes, labels = tiny_truth
    head = build_tiny_head(type="RouterHead", transformer=router(use_cam_embed=True, train_experts=True)).train()
    torch.nn.init.normal_(head.transformer.selected_cls.weight)
    bev, images, *rest = tiny_inputs
    bev, images = bev.clone().requires_grad_(), images.clone().requires_grad_()
    out = head(bev, images, *rest, head.make_denoising(boxes, labels, [1, 2]))
    losses = head.loss(out, boxes, labels, working(BOTH, CAMERAS))
    losses.pop("router_loss").backward(retain_graph=True)
    assert bev.grad is None and images.grad is None  # the router moves no feature
    assert all(
        p.grad is None or name.startswith(("transformer.encoder.", "transformer.selected_cls."))
        for name, p in head.named_parameters()
    )
    torch.stack(list(losses.values())).sum().backward()
    assert bev.grad.any() and images.grad.any()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()]
    # Queries start without content, so the first self-attention mixes zeros; a norm removes the bias before it.
    assert all(
        name.startswith(("transformer.decoder.layers.0.attentions.0.", "transformer.decoder.layers.0.norms.0."))
        or ("cam_embed" in name and name.endswith("bias"))
        for name in silent
    ), silent


def test_the_router_does_not_see_where_the_ground_truth_is(routed, tiny_inputs, tiny_truth):
    denoising = routed.make_denoising(*tiny_truth, [1, 2])
    with torch.no_grad():
        expected = routed(*tiny_inputs).route.logits
        routed.train()
        routed.shared_conv.eval()
        given = routed(*tiny_inputs, denoising).route.logits
        routed.transformer.mome_compatible = True
        compatible = routed(*tiny_inputs, denoising).route.logits
    torch.testing.assert_close(given, expected)
    assert compatible.shape[1] == denoising.num_slots + 100  # upstream's loss counts the slots


def test_loss_by_hand():
    logits = torch.log(torch.tensor([[[8.0, 1, 1], [1, 1, 8]]])).expand(3, -1, -1)
    by_sample = [router_loss(logits[:1], working(sensors)) for sensors in (BOTH, LIDAR, CAMERAS)]
    right, wrong = -math.log(0.8), -math.log(0.1)
    expected = [(right + wrong) / 2, wrong, (wrong + right) / 2]
    assert torch.stack(by_sample).tolist() == pytest.approx(expected)
    assert float(router_loss(logits, working(BOTH, LIDAR, CAMERAS))) == pytest.approx(sum(expected) / 3)
    assert float(router_loss(logits, working(BOTH))) == pytest.approx(expected[0])  # one row speaks for all samples
    assert float(router_loss(torch.zeros(2, 5, 3), working(LIDAR, BOTH))) == pytest.approx(math.log(3))


def test_choice_and_shares():
    route = RouterOutput.from_logits(torch.tensor([[[0.0, 0, 0], [0, 1, 0], [0, 0, 1], [2, 1, 0]]]))
    assert route.choice.tolist() == [[0, 1, 2, 0]]  # a draw is the fused expert's
    assert route.scalars() == {"route_fused": 0.5, "route_bev": 0.25, "route_img": 0.25}


def test_gradients_by_finite_differences():
    torch.manual_seed(0)
    transformer = RouterTransformer(decoder(8, 1), encoder=dict(feedforward_channels=6), window_sizes=[3, 3])
    transformer.double().eval()
    torch.nn.init.normal_(transformer.selected_cls.weight)
    shapes = MapShapes(bev=(4, 4), image=(1, 3, 4))
    reference = torch.rand(1, 3, 3, dtype=torch.float64)
    matrix = torch.eye(4, dtype=torch.float64)[None, None]
    cells = locate_like_mome(reference, matrix, shapes=shapes, pad_shape=(48, 64), pc_range=PC_RANGE)
    query_pos, memory, memory_pos = (torch.randn(1, n, 8, dtype=torch.float64) for n in (3, 28, 28))
    names = [n for n, _ in transformer.named_parameters() if n.startswith(("encoder.", "selected_cls."))]
    assert len(names) == 16

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = transformer

        def forward(self) -> torch.Tensor:
            return self.router.rate_experts(query_pos, memory, memory_pos, cells)

    module = Logits()
    given = {f"router.{n}": dict(transformer.named_parameters())[n].detach().requires_grad_() for n in names}
    function = lambda *values: functional_call(module, dict(zip(given, values, strict=True)), ())  # noqa: E731
    assert gradcheck(function, tuple(given.values()), fast_mode=True)


def tokens(references: list, lidar2img: torch.Tensor, edges: tuple[int, int]) -> list[list[int]]:
    """What each query may look at in MoME's own maps of two cameras."""
    shapes = MapShapes(bev=(180, 180), image=(2, 40, 100))
    reference = torch.tensor([references], dtype=torch.float32)
    cells = locate_like_mome(reference, lidar2img, shapes=shapes, pad_shape=(640, 1600), pc_range=PC_RANGE)
    table = build_windows(cells, edges)
    return [sorted(index[valid].tolist()) for index, valid in zip(table.index[0], table.valid[0], strict=True)]


def test_quirks_of_mome_by_hand():
    # Camera 0 sees what is 10 m and more up, which is nothing; camera 1 looks along x with its axis at pixel (0, 0).
    blind = torch.tensor([[0, 0, 0, -1.0], [0, 0, 0, -1], [0, 0, 1, -10], [0, 0, 0, 1]])
    ahead = torch.tensor([[0, -1000.0, 0, 0], [0, 0, -1000, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    lidar2img = torch.stack([blind, ahead])[None]
    corner, axis, right = [1.0, 1, 1], [0.103, 0.5, 0.625], [0.75, 0.453, 0.6]
    first, second, third = tokens([corner, axis, right], lidar2img, (15, 5))
    # At 1.0 the column wraps to 0 two rows above the end; left of camera 1, so in the upper left of camera 0.
    upper_left = [32400 + row * 100 + col for row in range(8) for col in range(8)]
    assert first == [179 * 180, 179 * 180 + 1, 179 * 180 + 2, *upper_left]
    # On the axis 43 m behind camera 1: (0, 0) over a depth of 1e-5 is its upper left cell.
    bev = [row * 180 + col for row in range(88, 93) for col in range(16, 21)]
    assert second == [*bev, *(token + 4000 for token in upper_left)]
    # 27 m ahead, 5.08 m right, 0.2 m below: pixel (188, 7.4), row 0 and column 11.
    bev = [row * 180 + col for row in range(79, 84) for col in range(133, 138)]
    assert third == [*bev, *(36400 + row * 100 + col for row in range(8) for col in range(4, 19))]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(transformer=dict(type="CmtTransformer", decoder=decoder())), "RouterHead has a CmtTransformer, and only"),
        (dict(num_querys=3), "RouterHead does not take 'num_querys'. Did you mean 'num_query'"),
        (dict(transformer=router(view="all")), "RouterTransformer does not take 'view'. Did you mean 'views'"),
        (dict(transformer=router(views="some")), "views is 'some'; allowed are 'all' and 'first'"),
        (
            dict(
                aqr_config=dict(type="AQRWeightGenerator", embed_dims=128),
                attention_bias_config=dict(type="AttentionBiasGenerator"),
            ),
            "RouterHead routes queries by itself and takes no AQR",
        ),
    ],
)
def test_settings_that_contradict_each_other(build_tiny_head, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_tiny_head(type="RouterHead", **{"transformer": router(), **changes})


def test_a_plain_head_refuses_a_router_that_it_would_never_ask(build_tiny_head):
    with pytest.raises(ConfigError, match="CmtHead has a RouterTransformer, and only a RouterHead"):
        build_tiny_head(transformer=router())


def test_window_sizes_are_checked():
    with pytest.raises(ConfigError, match=r"window_sizes is \[15, 0\]"):
        build(dict(router(), window_sizes=[15, 0]), MODELS)


def test_what_a_router_cannot_learn_from(routed, tiny_inputs, tiny_truth):
    bev, images, *rest = tiny_inputs
    out = routed(bev, images, *rest)
    with pytest.raises(ConfigError, match=r"learns from which sensors work.*give `working`"):
        routed.loss(out, *tiny_truth)
    with pytest.raises(ConfigError, match="neither working LiDAR nor working cameras"):
        routed.loss(out, *tiny_truth, working(BOTH, (False, False)))
    with pytest.raises(ConfigError, match="nothing to route with LiDAR alone or cameras alone"):
        routed.loss(routed(bev, None, *rest), *tiny_truth, working(BOTH, BOTH))
