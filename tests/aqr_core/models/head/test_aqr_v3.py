"""AQR v3 inside the head: neutral start, gradients, no leak, errors."""

from __future__ import annotations

import math

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.aqr import AQRWeightGenerator, AttentionBiasGenerator, MapShapes

GENERATOR = dict(
    type="AQRWeightGenerator",
    embed_dims=128,
    feedforward_channels=256,
    bev_feature_shape=(40, 40),
    pers_feature_shape=(6, 4, 11),
)
BIAS = dict(type="AttentionBiasGenerator")


@pytest.fixture
def build_v3(build_tiny_head):
    """Build the tiny head with AQR v3, its other weights those of the tiny head."""

    def build(generator=None, bias=None, **changes):
        aqr = dict(
            aqr_config={**GENERATOR, **(generator or {})}, attention_bias_config={**BIAS, **(bias or {})}, **changes
        )
        head = build_tiny_head(**aqr)
        missing = head.load_state_dict(build_tiny_head(**changes).state_dict(), strict=False).missing_keys
        assert missing and all(key.startswith(("aqr_weight_generator", "attention_bias_generator")) for key in missing)
        return head

    return build


@pytest.mark.parametrize("backend", ["dense", "window"])
@pytest.mark.parametrize("training", [False, True])
def test_neutral_start_equals_the_baseline(build_tiny_head, build_v3, tiny_inputs, tiny_truth, backend, training):
    outputs = []
    for head in (build_tiny_head(), build_v3(bias=dict(attention_backend=backend))):
        head.train(training)
        denoising = head.make_denoising(*tiny_truth, seeds=[1, 2]) if training else None
        torch.manual_seed(5)  # dropout of the decoder
        with torch.no_grad():
            outputs.append(head(*tiny_inputs, denoising))
    plain, biased = outputs
    for name in ("cls_logits", "height", "dim", "rot", "vel"):
        torch.testing.assert_close(getattr(biased, name)[0], getattr(plain, name)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(biased.center[0], plain.center[0], atol=1e-4, rtol=1e-5)  # metres, of +-32
    assert plain.aqr is None
    assert biased.aqr.weights.shape == (2, 100, 2) and not biased.aqr.weights.any()
    assert float(biased.aqr.scale) == 2.5


@pytest.mark.parametrize(
    "bias", [dict(attention_backend="dense"), dict(attention_backend="window"), dict(use_local_bias=False)]
)
def test_gradients_arrive_at_every_parameter_after_two_steps(build_v3, tiny_inputs, tiny_truth, bias):
    head = build_v3(bias=bias, num_query=30).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        out = head(*tiny_inputs, head.make_denoising(*tiny_truth, seeds=[1, 2]))
        sum(head.loss(out, *tiny_truth).values()).backward()
        gradients = {
            name: parameter.grad
            for name, parameter in head.named_parameters()
            if name.startswith(("aqr_weight_generator", "attention_bias_generator"))
        }
        optimiser.step()
        head.attention_bias_generator.clamp_scale_()
    assert "attention_bias_generator.bias_scale" in gradients and len(gradients) > 10
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0, name


def test_matching_queries_do_not_see_the_ground_truth(build_v3, without_dropout, tiny_inputs, tiny_truth):
    head = build_v3(generator=dict(init=dict(bias=0.7)), bias=dict(attention_backend="dense"))
    torch.nn.init.normal_(head.aqr_weight_generator.predictor.weight)
    without_dropout(head)
    boxes, labels = tiny_truth
    with torch.no_grad():
        first = head(*tiny_inputs, head.make_denoising(boxes, labels, seeds=[1, 2]))
        moved = [box + 1.5 for box in boxes]
        second = head(*tiny_inputs, head.make_denoising(moved, labels, seeds=[3, 4]))
        alone = head(*tiny_inputs)
    assert not torch.equal(first.denoising.predictions.cls_logits[0], second.denoising.predictions.cls_logits[0])
    for other in (second, alone):
        torch.testing.assert_close(other.cls_logits[0], first.cls_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other.aqr.weights, first.aqr.weights, atol=1e-6, rtol=1e-6)


def test_bias_moves_attention_to_the_window(build_v3, tiny_inputs):
    head = build_v3(generator=dict(init=dict(bias=2.0)), bias=dict(bias_scale=5.0)).eval()
    with torch.no_grad():
        out = head(*tiny_inputs)
    torch.testing.assert_close(out.aqr.weights.amax(dim=(0, 1)), torch.full((2,), 2.0).tanh())
    figures = head.aqr_scalars()
    assert figures["bias_scale"] == 5.0
    assert figures["weight_lidar_mean"] == pytest.approx(0.964, abs=1e-3)
    assert figures["weight_camera_min"] == pytest.approx(0.964, abs=1e-3)
    assert figures["weight_camera_std"] == pytest.approx(0, abs=1e-6)
    assert figures["prefer_lidar"] == figures["prefer_camera"] == 0


def test_bias_values_by_hand(build_v3, tiny_inputs):
    window = dict(window_size=[2, 3], use_gaussian_window=True, gaussian_sigma=1.0)
    head = build_v3(bias=dict(**window, max_scale=4.0, attention_backend="dense"))
    bev, images, lidar2img, pad_shape = tiny_inputs
    reference = torch.tensor([[[0.5125, 0.5125, 0.5]]])  # x = y = 0.8 m: cell (20, 20) of 1.6 m
    cells = head.locate(reference, lidar2img[:1], MapShapes((40, 40), None), pad_shape)
    bias = head.attention_bias_generator(torch.tensor([[[0.8, -3.0]]]), cells)
    dense = bias.value.detach().view(40, 40)
    assert int((dense != 0).sum()) == 9
    assert float(dense[20, 20]) == pytest.approx(2.0)  # 2.5 * 0.8
    assert float(dense[19, 20]) == pytest.approx(2.0 * 0.60653066)  # exp(-1/2)
    assert float(dense[21, 21]) == pytest.approx(2.0 * 0.36787944)  # exp(-1)
    bias = head.attention_bias_generator(torch.tensor([[[3.0, 0.0]]]), cells)
    assert float(bias.value.detach().max()) == pytest.approx(4.0)  # min(5, max_scale), reached before the fall-off


def test_scale_returns_into_its_interval():
    generator = AttentionBiasGenerator(bias_scale=2.0, min_scale=1.0, max_scale=3.0)
    generator.bias_scale.data.fill_(7.0)
    assert float(generator.scale.detach()) == 3.0
    generator.clamp_scale_()
    assert float(generator.bias_scale.detach()) == 3.0
    generator.scale.backward()
    assert float(generator.bias_scale.grad) == 1.0  # at the bound the gradient still arrives
    fixed = AttentionBiasGenerator(learnable_scale=False)
    assert not list(fixed.parameters()) and "bias_scale" in fixed.state_dict()


def test_query_without_any_window_gets_neutral_weights(build_v3, tiny_inputs):
    head = build_v3(generator=dict(init=dict(bias=1.0))).eval()
    head.reference_points.weight.data[0] = torch.tensor([0.5, 0.5, 0.99])  # above the roof: seen by no camera
    _, images, lidar2img, pad_shape = tiny_inputs
    with torch.no_grad():
        weights = head(None, images, lidar2img, pad_shape).aqr.weights
    assert not weights[:, 0].any() and weights.ne(0).any()


@pytest.mark.parametrize("backend", ["dense", "window"])
def test_cameras_that_see_no_query_leave_the_baseline(build_tiny_head, build_v3, tiny_inputs, tiny_truth, backend):
    _, images, lidar2img, pad_shape = tiny_inputs
    blind = lidar2img.clone()
    blind[:, :, 2, 3] -= 1000  # a kilometre ahead of everything
    head = build_v3(generator=dict(init=dict(bias=1.0)), bias=dict(attention_backend=backend))
    out = head(None, images, blind, pad_shape)
    assert not out.aqr.weights.any()
    plain = build_tiny_head()(None, images, blind, pad_shape)
    torch.testing.assert_close(out.cls_logits[0], plain.cls_logits[0], atol=1e-5, rtol=1e-5)
    sum(head.loss(out, *tiny_truth).values()).backward()
    assert head.reference_points.weight.grad.isfinite().all()


def test_stacked_layers_start_neutral(build_v3, tiny_inputs):
    head = build_v3(generator=dict(use_type_embed=False, num_layers=2, views="first")).eval()
    with torch.no_grad():
        weights = head(*tiny_inputs).aqr.weights
    assert torch.equal(weights, torch.zeros_like(weights))


def test_one_modality_works(build_v3, tiny_inputs):
    bev, images, lidar2img, pad_shape = tiny_inputs
    head = build_v3(generator=dict(init=dict(bias=0.5)))
    assert head(bev, None, None, pad_shape).aqr.weights.isfinite().all()
    assert head(None, images, lidar2img, pad_shape).aqr.weights.isfinite().all()


def test_wrong_map_shape_names_both(build_v3, tiny_inputs):
    with pytest.raises(ConfigError, match=r"bev_feature_shape is \(128, 128\).*\(40, 40\)"):
        build_v3(generator=dict(bev_feature_shape=(128, 128)))(*tiny_inputs)
    with pytest.raises(ConfigError, match=r"pers_feature_shape is \(6, 20, 50\).*\(6, 4, 11\)"):
        build_v3(generator=dict(pers_feature_shape=(6, 20, 50)))(*tiny_inputs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(min_scale=3.0, max_scale=2.0), "min_scale 3.0 and max_scale 2.0"),
        (dict(min_scale=-1.0), "min_scale -1.0"),
        (dict(max_scale=math.inf), "max_scale inf"),
        (dict(use_local_bias=False, use_gaussian_window=True), "use_gaussian_window is True with use_local_bias=False"),
        (dict(bias_scale=9.0), r"bias_scale is 9.0.*\[0.5, 5.0\]"),
        (dict(gaussian_sigma=0.0), "gaussian_sigma is 0.0"),
        (dict(gaussian_sigma=math.nan), "gaussian_sigma is nan"),
        (dict(attention_backend="flash"), "'flash'.*'auto', 'dense', 'window', 'flex'"),
        (dict(window_size=0), "window_size is 0"),
        (dict(views="best"), "'best'"),
    ],
)
def test_bad_bias_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        AttentionBiasGenerator(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(activation="relu"), "'relu'.*'tanh'"),
        (dict(init="zero"), "'zero'.*'neutral'"),
        (dict(init=dict(weight=1)), "init is"),
        (dict(init=dict(bias="1.5")), "init is"),
        (dict(init=dict(bias=math.nan)), "init is"),
        (dict(num_heads=0), "num_heads is 0; it must be 1 or more"),
        (dict(num_heads=3), "embed_dims 256 is no multiple of num_heads 3"),
        (dict(num_layers=0), "num_layers is 0; it must be 1 or more"),
        (dict(feedforward_channels=0), "feedforward_channels is 0"),
        (dict(dropout=1.5), r"dropout is 1.5; it must lie in \[0, 1\)"),
        (dict(bev_feature_shape=128), r"bev_feature_shape is 128; give \(Y, X\)"),
        (dict(pers_feature_shape=(20, 50)), r"pers_feature_shape is \(20, 50\); give \(N, H, W\)"),
        (dict(window_sizes=(8, 0)), "window_sizes is"),
        (dict(views="any"), "'any'"),
    ],
)
def test_bad_generator_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        AQRWeightGenerator(**arguments)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (dict(aqr_config=GENERATOR), "aqr_config alone"),
        (dict(attention_bias_config=BIAS), "attention_bias_config alone"),
        (dict(aqr_config=GENERATOR, renderer_config={}), "renderer_config alone"),
        (dict(renderer_config={}, modulator_config={}), "renderer_config, modulator_config alone"),
        (
            dict(aqr_config={**GENERATOR, "activation": "sigmoid2"}, attention_bias_config=BIAS),
            "'sigmoid2'.*must be one of 'tanh'",
        ),
        (dict(aqr_config=GENERATOR, modulator_config={}, attention_bias_config=BIAS), "exclude each other"),
        (
            dict(aqr_config={**GENERATOR, "embed_dims": 64}, attention_bias_config=BIAS),
            "aqr_config.embed_dims is 64, hidden_dim is 128",
        ),
        (
            dict(aqr_config=GENERATOR, attention_bias_config=dict(type="WeightRenderer")),
            "attention_bias_config.type is 'WeightRenderer'; it must be 'AttentionBiasGenerator'",
        ),
        (dict(aqr_config={**GENERATOR, "windows": 3}, attention_bias_config=BIAS), "'windows'.*window_sizes"),
    ],
)
def test_bad_combinations_are_named(build_tiny_head, blocks, message):
    with pytest.raises(ConfigError, match=message):
        build_tiny_head(**blocks)
