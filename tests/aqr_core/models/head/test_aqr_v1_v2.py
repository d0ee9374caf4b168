"""AQR v1 and v2 inside the head: neutral start, gradients, no leak, one modality, errors."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.aqr.splat import METHODS

GENERATOR = dict(
    type="AQRWeightGenerator",
    embed_dims=128,
    feedforward_channels=256,
    bev_feature_shape=(40, 40),
    pers_feature_shape=(6, 4, 11),
)
AQR_CHILDREN = ("aqr_weight_generator", "weight_renderer", "feature_modulator")
RESIDUAL = {"v1": False, "v2": True}


@pytest.fixture
def build_modulated(build_tiny_head):
    """Build the tiny head with AQR v1 or v2, its other weights those of the tiny head."""

    def build(variant, generator=None, renderer=None, modulator=None, **changes):
        head = build_tiny_head(
            aqr_config={**GENERATOR, **(generator or {})},
            renderer_config=dict(type="WeightRenderer", **(renderer or {})),
            modulator_config=dict(
                type="FeatureModulator", embed_dims=128, residual_connection=RESIDUAL[variant], **(modulator or {})
            ),
            **changes,
        )
        missing = head.load_state_dict(build_tiny_head(**changes).state_dict(), strict=False).missing_keys
        assert missing and all(key.startswith(AQR_CHILDREN) for key in missing)
        return head

    return build


def opinionated(head):
    """Weights that differ from query to query."""
    torch.manual_seed(3)
    torch.nn.init.normal_(head.aqr_weight_generator.predictor.weight)
    return head


@pytest.mark.parametrize("variant", RESIDUAL)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("method", "modulator"),
    [
        *((method, {}) for method in METHODS),
        ("gaussian", dict(modulation_type="channel_wise", learnable_modulation=True, normalize_weights=True)),
        ("gaussian", dict(modulation_type="adaptive", activation="tanh")),
    ],
)
def test_neutral_start_equals_the_baseline(
    build_tiny_head, build_modulated, tiny_inputs, tiny_truth, variant, training, method, modulator
):
    outputs = []
    for head in (build_tiny_head(), build_modulated(variant, renderer=dict(render_method=method), modulator=modulator)):
        head.train(training)
        denoising = head.make_denoising(*tiny_truth, seeds=[1, 2]) if training else None
        torch.manual_seed(5)  # dropout of the decoder
        with torch.no_grad():
            outputs.append(head(*tiny_inputs, denoising))
    plain, modulated = outputs
    for name in ("cls_logits", "center", "height", "dim", "rot", "vel"):
        torch.testing.assert_close(getattr(modulated, name)[0], getattr(plain, name)[0], atol=1e-5, rtol=0)
    assert bool((modulated.aqr.weights == 1).all()) and modulated.aqr.weights.shape == (2, 100, 2)
    assert bool((modulated.aqr.maps.bev == 1).all()) and bool((modulated.aqr.maps.image == 1).all())
    assert float(modulated.aqr.feature_change) == 0


@pytest.mark.parametrize("variant", RESIDUAL)
@pytest.mark.parametrize(
    ("renderer", "modulator"),
    [
        ({}, {}),
        (dict(render_method="direct"), dict(modulation_type="channel_wise")),
        (dict(render_method="bilinear"), dict(modulation_type="adaptive")),
        (dict(render_method="distance_weighted"), dict(learnable_modulation=True, normalize_weights=True)),
        (dict(composition="sum", max_weight_clamp=2.5), dict(activation="sigmoid")),
    ],
)
def test_gradients_arrive_at_every_parameter_after_two_steps(
    build_modulated, tiny_inputs, tiny_truth, variant, renderer, modulator
):
    head = build_modulated(variant, renderer=renderer, modulator=modulator, num_query=30).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3)
    for _ in range(3):
        optimiser.zero_grad()
        out = head(*tiny_inputs, head.make_denoising(*tiny_truth, seeds=[1, 2]))
        sum(head.loss(out, *tiny_truth).values()).backward()
        gradients = {
            name: parameter.grad for name, parameter in head.named_parameters() if name.startswith(AQR_CHILDREN)
        }
        optimiser.step()
    assert len(gradients) > 10
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all() and gradient.abs().max() > 0, name


class GivenWeights(torch.nn.Module):
    """Stands in for the weight generator."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, *_: object) -> torch.Tensor:
        return self.weights


@pytest.mark.parametrize("variant", RESIDUAL)
@pytest.mark.parametrize("method", METHODS)
def test_gradient_of_the_loss_in_the_weights_by_finite_differences(
    build_modulated, tiny_inputs, tiny_truth, variant, method
):
    head = build_modulated(variant, renderer=dict(render_method=method), num_query=10)
    generator = torch.Generator().manual_seed(0)
    weights, direction = torch.rand(2, 2, 10, 2, generator=generator, dtype=torch.float64)
    head.aqr_weight_generator = GivenWeights(0.1 + 1.8 * weights)
    head = head.double().eval()
    inputs = [part.double() if torch.is_tensor(part) else part for part in tiny_inputs]
    boxes = [box.double() for box in tiny_truth[0]]

    def loss() -> torch.Tensor:
        return sum(head.loss(head(*inputs), boxes, tiny_truth[1]).values())

    loss().backward()
    leaf, step = head.aqr_weight_generator.weights, 1e-6
    expected = float((leaf.grad * direction).sum())
    with torch.no_grad():
        leaf += step * direction
        above = float(loss())
        leaf -= 2 * step * direction
        below = float(loss())
    assert abs(expected) > 1e-4 and (above - below) / (2 * step) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("variant", RESIDUAL)
def test_matching_queries_do_not_see_the_ground_truth(
    build_modulated, without_dropout, tiny_inputs, tiny_truth, variant
):
    head = without_dropout(opinionated(build_modulated(variant))).train()
    boxes, labels = tiny_truth
    with torch.no_grad():
        first = head(*tiny_inputs, head.make_denoising(boxes, labels, seeds=[1, 2]))
        moved = [box + 1.5 for box in boxes]
        second = head(*tiny_inputs, head.make_denoising(moved, labels, seeds=[3, 4]))
        alone = head(*tiny_inputs)
    assert float(first.aqr.feature_change) > 0.01
    assert not torch.equal(first.denoising.predictions.cls_logits[0], second.denoising.predictions.cls_logits[0])
    for other in (second, alone):
        torch.testing.assert_close(other.cls_logits[0], first.cls_logits[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other.aqr.weights, first.aqr.weights, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(other.aqr.maps.bev, first.aqr.maps.bev, atol=1e-5, rtol=0)
        torch.testing.assert_close(other.aqr.maps.image, first.aqr.maps.image, atol=1e-5, rtol=0)


@pytest.mark.parametrize("variant", RESIDUAL)
def test_figures_for_the_log(build_modulated, tiny_inputs, variant):
    head = opinionated(build_modulated(variant)).eval()
    with torch.no_grad():
        out = head(*tiny_inputs)
    figures = head.aqr_scalars()
    assert "bias_scale" not in figures
    assert figures["map_bev_max"] == float(out.aqr.maps.bev.max()) <= 2
    assert figures["map_image_mean"] == pytest.approx(float(out.aqr.maps.image.mean()))
    everything = torch.cat([out.aqr.maps.bev.flatten(1), out.aqr.maps.image.flatten(1)], dim=1)
    share = 0.35 if RESIDUAL[variant] else 1.0
    assert figures["feature_change"] == pytest.approx(share * float((everything - 1).abs().mean()), rel=1e-5)


@pytest.mark.parametrize("variant", RESIDUAL)
def test_residual_weight_of_one_is_the_baseline(build_tiny_head, build_modulated, tiny_inputs, variant):
    head = opinionated(build_modulated(variant, modulator=dict(residual_weight=1.0))).eval()
    with torch.no_grad():
        same = torch.equal(head(*tiny_inputs).cls_logits[0], build_tiny_head().eval()(*tiny_inputs).cls_logits[0])
    assert same == RESIDUAL[variant]


@pytest.mark.parametrize("variant", RESIDUAL)
@pytest.mark.parametrize("method", METHODS)
def test_one_modality_works(build_modulated, tiny_inputs, tiny_truth, variant, method):
    bev, images, lidar2img, pad_shape = tiny_inputs
    head = opinionated(build_modulated(variant, renderer=dict(render_method=method)))
    for inputs, absent in (((bev, None, None), "image"), ((None, images, lidar2img), "bev")):
        out = head(*inputs, pad_shape)
        assert getattr(out.aqr.maps, absent) is None
        sum(head.loss(out, *tiny_truth).values()).backward()
        assert head.aqr_weight_generator.predictor.weight.grad.isfinite().all()


@pytest.mark.parametrize("variant", RESIDUAL)
def test_cameras_that_see_no_query_leave_the_baseline(build_tiny_head, build_modulated, tiny_inputs, variant):
    _, images, lidar2img, pad_shape = tiny_inputs
    blind = lidar2img.clone()
    blind[:, :, 2, 3] -= 1000  # a kilometre ahead of everything
    head = build_modulated(variant, generator=dict(init=dict(bias=1.0))).eval()
    with torch.no_grad():
        out = head(None, images, blind, pad_shape)
        plain = build_tiny_head().eval()(None, images, blind, pad_shape)
    assert torch.equal(out.aqr.maps.image, torch.ones_like(out.aqr.maps.image))
    torch.testing.assert_close(out.cls_logits[0], plain.cls_logits[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (dict(generator=dict(activation="tanh")), "'tanh'.*must be one of 'sigmoid2', 'sigmoid'"),
        (dict(renderer=dict(render_method="cubic")), "render_method is 'cubic'"),
        (dict(renderer=dict(sigma=2.0)), "'sigma'.*gaussian_sigma"),
        (dict(renderer=dict(max_weight_clamp=(2, 5))), r"takes one float as 'max_weight_clamp', got \(2, 5\)"),
        (dict(modulator=dict(normalize_weights="false")), "takes one bool as 'normalize_weights', got 'false'"),
        (dict(modulator=dict(residual_weight=1.5)), "residual_weight is 1.5"),
        (dict(attention_bias_config=dict(type="AttentionBiasGenerator")), "exclude each other"),
    ],
)
def test_bad_blocks_are_named(build_modulated, blocks, message):
    with pytest.raises(ConfigError, match=message):
        build_modulated("v2", **blocks)
