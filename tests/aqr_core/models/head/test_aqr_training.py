"""Every AQR variant in the machinery of training: first gradients, recomputed activations, copies."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

from aqr_core.errors import ConfigError

MODULATOR = dict(type="FeatureModulator", embed_dims=128)
BIAS = dict(type="AttentionBiasGenerator")
VARIANTS = {
    "v1": dict(renderer_config=dict(type="WeightRenderer"), modulator_config=MODULATOR),
    "v1, direct": dict(renderer_config=dict(type="WeightRenderer", render_method="direct"), modulator_config=MODULATOR),
    "v2, all learned": dict(
        renderer_config=dict(type="WeightRenderer", clamp_schedule=[(0, 2.5), (6, 2.0)]),
        modulator_config=dict(
            **MODULATOR, residual_connection=True, learnable_modulation=True, modulation_type="adaptive"
        ),
    ),
    "v3, window": dict(attention_bias_config=dict(**BIAS, attention_backend="window")),
    "v3, dense": dict(attention_bias_config=dict(**BIAS, attention_backend="dense")),
    "v3, global": dict(attention_bias_config=dict(**BIAS, use_local_bias=False)),
    "v3, fixed scale": dict(attention_bias_config=dict(**BIAS, learnable_scale=False)),
}
AQR_CHILDREN = ("aqr_weight_generator", "weight_renderer", "feature_modulator", "attention_bias_generator")


@pytest.fixture
def build_variant(build_tiny_head):
    """Build a head of one of `VARIANTS`, in training mode."""
    generator = dict(
        type="AQRWeightGenerator",
        embed_dims=128,
        feedforward_channels=128,
        bev_feature_shape=(40, 40),
        pers_feature_shape=(6, 4, 11),
    )
    return lambda name: build_tiny_head(aqr_config=generator, num_query=20, **VARIANTS[name]).train()


@pytest.fixture(params=VARIANTS)
def head(request, build_variant):
    return build_variant(request.param)


def opinionated(head):
    torch.manual_seed(3)
    torch.nn.init.normal_(head.aqr_weight_generator.predictor.weight)
    return head


def backward(head, inputs, truth):
    head.zero_grad()
    torch.manual_seed(0)
    out = head(*inputs, head.make_denoising(*truth, seeds=[1, 2]))
    sum(head.loss(out, *truth).values()).backward()
    return {name: parameter.grad for name, parameter in head.named_parameters()}


@pytest.mark.parametrize("given", ["both", "LiDAR", "cameras", "cameras that see nothing"])
def test_no_parameter_is_left_out_of_the_first_step(head, tiny_inputs, tiny_truth, given):
    """Zero gradients are fine; a parameter without one stops training on several GPUs."""
    bev, images, lidar2img, pad_shape = tiny_inputs
    if given == "LiDAR":
        images = lidar2img = None
    elif given != "both":
        bev = None
    if given == "cameras that see nothing":
        lidar2img = lidar2img.clone()
        lidar2img[:, :, 2, 3] -= 1000  # a kilometre ahead of everything
    gradients = backward(head, (bev, images, lidar2img, pad_shape), tiny_truth)
    own = {name: gradient for name, gradient in gradients.items() if name.startswith(AQR_CHILDREN)}
    assert len(own) > 10 and all(gradient is not None and gradient.isfinite().all() for gradient in own.values())


def test_recomputed_activations_give_the_same_gradients(head, tiny_inputs, tiny_truth):
    opinionated(head)
    expected = {name: gradient.clone() for name, gradient in backward(head, tiny_inputs, tiny_truth).items()}
    for layer in head.transformer.decoder.layers:
        layer.with_cp = True
    for name, gradient in backward(head, tiny_inputs, tiny_truth).items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-5)


def test_copies_predict_the_same_after_a_training_step(head, tiny_inputs, tiny_truth):
    backward(opinionated(head), tiny_inputs, tiny_truth)
    file = io.BytesIO()
    torch.save(head, file)
    file.seek(0)
    copies = [copy.deepcopy(head), pickle.loads(pickle.dumps(head)), torch.load(file, weights_only=False)]
    with torch.no_grad():
        expected = head.eval()(*tiny_inputs).cls_logits[0]
        for other in copies:
            assert torch.equal(other.eval()(*tiny_inputs).cls_logits[0], expected)


def test_dropout_of_biased_attention_is_refused(build_variant, tiny_inputs):
    head = build_variant("v3, window")
    for layer in head.transformer.decoder.layers:
        layer.attentions[1].attn.dropout = 0.1  # what type='MultiheadAttention' would have
    with pytest.raises(ConfigError, match="drops 0.1 of its probabilities.*'PETRMultiheadAttention'"):
        head(*tiny_inputs)
    head.eval()(*tiny_inputs)
