"""Features times weight maps: formulas, neutral maps, gains, gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aqr_core.errors import ConfigError
from aqr_core.models.aqr import FeatureModulator, WeightMaps
from aqr_core.models.aqr.feature_modulator import ACTIVATIONS, MODULATION_TYPES

SETTINGS = [
    dict(modulation_type=kind, activation=activation, learnable_modulation=gain, normalize_weights=normalize)
    for kind, activation, (gain, normalize) in itertools.product(
        MODULATION_TYPES, ACTIVATIONS, [(False, False), (True, True)]
    )
]


def sample(seed: int = 0, dtype: torch.dtype = torch.float32, channels: int = 4) -> tuple[torch.Tensor, WeightMaps]:
    """Two samples of 6 BEV and 2 x 4 image tokens; maps in [0, 2]."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(2, 14, channels, generator=generator, dtype=torch.float64)
    bev = 2 * torch.rand(2, 2, 3, generator=generator, dtype=torch.float64)
    image = 2 * torch.rand(2, 2, 2, 2, generator=generator, dtype=torch.float64)
    return tokens.to(dtype), WeightMaps(bev.to(dtype), image.to(dtype))


def flat(maps: WeightMaps) -> torch.Tensor:
    """(B, T, 1)."""
    return torch.cat([part.flatten(1) for part in (maps.bev, maps.image) if part is not None], dim=1).unsqueeze(-1)


def test_v1_is_the_product():
    tokens, maps = sample()
    result, change = FeatureModulator(4)(tokens, maps)
    torch.testing.assert_close(result, tokens * flat(maps))
    assert change.shape == () and float(change) == pytest.approx(float((flat(maps) - 1).abs().mean()))


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 1000))
def test_v2_keeps_its_share_of_the_original(share, seed):
    tokens, maps = sample(seed, torch.float64)
    result, change = FeatureModulator(4, residual_connection=True, residual_weight=share)(tokens, maps)
    torch.testing.assert_close(result, share * tokens + (1 - share) * tokens * flat(maps))
    assert bool((result.abs() <= tokens.abs() * flat(maps).clamp(min=1) + 1e-12).all())  # never F M + r F
    expected = (result - tokens).norm(dim=-1) / tokens.norm(dim=-1)
    torch.testing.assert_close(change, expected.mean())


def test_ends_of_the_residual_weight():
    tokens, maps = sample()
    identity, change = FeatureModulator(4, residual_connection=True, residual_weight=1.0)(tokens, maps)
    assert torch.equal(identity, tokens) and float(change) == 0
    all_modulated = FeatureModulator(4, residual_connection=True, residual_weight=0.0)(tokens, maps)
    assert torch.equal(all_modulated[0], FeatureModulator(4)(tokens, maps)[0])
    unused = FeatureModulator(4, residual_weight=0.3)(tokens, maps)  # v1 has no residual
    assert torch.equal(unused[0], all_modulated[0])


def test_a_map_of_zeros_erases_in_v1_and_leaves_a_share_in_v2():
    tokens, _ = sample()
    nothing = WeightMaps(torch.zeros(2, 2, 3), torch.zeros(2, 2, 2, 2))
    assert not FeatureModulator(4)(tokens, nothing)[0].any()
    assert not FeatureModulator(4, normalize_weights=True)(tokens, nothing)[0].any()  # no division by a mean of zero
    torch.testing.assert_close(FeatureModulator(4, residual_connection=True)(tokens, nothing)[0], 0.65 * tokens)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("options", SETTINGS)
def test_maps_of_one_return_the_features_bit_for_bit(options, residual):
    tokens, _ = sample()
    ones = WeightMaps(torch.ones(2, 2, 3), torch.ones(2, 2, 2, 2))
    result, change = FeatureModulator(4, residual_connection=residual, **options)(tokens, ones)
    assert torch.equal(result, tokens) and float(change) == 0


@pytest.mark.parametrize(
    ("activation", "at_0", "at_2"),
    [
        ("none", 0.0, 2.0),
        ("sigmoid", 2 / (1 + math.e), 2 / (1 + 1 / math.e)),
        ("tanh", 1 - math.tanh(1), 1 + math.tanh(1)),
        ("relu", 0.0, 2.0),
    ],
)
def test_activations_by_hand(activation, at_0, at_2):
    maps = WeightMaps(torch.tensor([[[0.0, 1.0, 2.0]]]), None)
    result, _ = FeatureModulator(1, activation=activation)(torch.full((1, 3, 1), 10.0), maps)
    assert result.flatten().tolist() == pytest.approx([10 * at_0, 10.0, 10 * at_2], abs=1e-5)


def test_relu_cuts_negative_maps():
    maps = WeightMaps(torch.tensor([[[-0.5, 0.5]]]), None)
    result, _ = FeatureModulator(1, activation="relu")(torch.ones(1, 2, 1), maps)
    assert result.flatten().tolist() == [0.0, 0.5]


def test_normalised_maps_have_a_mean_of_one_per_sample_and_modality():
    tokens, maps = sample(dtype=torch.float64)
    modulator = FeatureModulator(4, normalize_weights=True)
    factor = modulator(torch.ones_like(tokens), maps)[0][..., 0]
    torch.testing.assert_close(factor[:, :6].mean(dim=1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(factor[:, 6:].mean(dim=1), torch.ones(2, dtype=torch.float64))
    scaled = WeightMaps(3 * maps.bev, 0.2 * maps.image)
    torch.testing.assert_close(modulator(tokens, scaled)[0], modulator(tokens, maps)[0])


def test_learned_gains_act_on_their_modality_and_channel():
    tokens, maps = sample(dtype=torch.float64)
    plain, _ = FeatureModulator(4)(tokens, maps)
    modulator = FeatureModulator(4, learnable_modulation=True).double()
    modulator.modality_gain.data.copy_(torch.tensor([[0.5], [1.0]]))
    result, _ = modulator(tokens, maps)
    torch.testing.assert_close(result[:, :6], tokens[:, :6] + 0.5 * (plain - tokens)[:, :6])
    torch.testing.assert_close(result[:, 6:], plain[:, 6:])

    modulator = FeatureModulator(4, modulation_type="channel_wise").double()
    modulator.channel_gain.data[1, 2] = 3.0  # camera, third channel
    result, change = modulator(tokens, maps)
    expected = plain.clone()
    expected[:, 6:, 2] = (tokens + 3 * (plain - tokens))[:, 6:, 2]
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(change, ((result - tokens).norm(dim=-1) / tokens.norm(dim=-1)).mean())


def test_the_adaptive_gain_follows_the_token():
    tokens, maps = sample(dtype=torch.float64)
    modulator = FeatureModulator(4, modulation_type="adaptive").double()
    plain, _ = modulator(tokens, maps)
    torch.testing.assert_close(plain, tokens * flat(maps))
    modulator.gain_predictor.weight.data[0, 1] = 1.0  # LiDAR, second channel
    result, _ = modulator(tokens, maps)
    gain = 2 * torch.sigmoid(tokens[:, :6, 1:2])
    torch.testing.assert_close(result[:, :6], tokens[:, :6] * (1 + gain * (flat(maps)[:, :6] - 1)))
    torch.testing.assert_close(result[:, 6:], plain[:, 6:])


@pytest.mark.parametrize("options", SETTINGS)
def test_gradients_by_finite_differences(options):
    tokens, maps = sample(3, torch.float64)
    modulator = FeatureModulator(4, residual_connection=True, **options).double()
    names, parameters = zip(*modulator.named_parameters(), strict=True) if list(modulator.parameters()) else ((), ())
    leaves = [leaf.detach().clone().requires_grad_() for leaf in (tokens, maps.bev, maps.image, *parameters)]

    def modulate(tokens, bev, image, *values):
        state = dict(zip(names, values, strict=True))
        return torch.func.functional_call(modulator, state, (tokens, WeightMaps(bev, image)))[0]

    assert torch.autograd.gradcheck(modulate, leaves)
    modulate(*leaves).square().sum().backward()
    assert all(leaf.grad.any() for leaf in leaves)


@pytest.mark.parametrize("options", SETTINGS[::4])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_of_the_tokens_is_kept(options, dtype):
    tokens, maps = sample()
    modulator = FeatureModulator(4, **options)
    expected, _ = modulator(tokens, maps)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        result, change = modulator.to(dtype if dtype != torch.bfloat16 else torch.float32)(tokens.to(dtype), maps)
    assert result.dtype == dtype and not change.requires_grad and bool(change.isfinite())
    torch.testing.assert_close(result.float(), expected, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("options", SETTINGS[::4])
def test_one_modality_alone(options):
    tokens, maps = sample()
    modulator = FeatureModulator(4, **options)
    both, _ = modulator(tokens, maps)
    torch.testing.assert_close(modulator(tokens[:, :6], WeightMaps(maps.bev, None))[0], both[:, :6])
    torch.testing.assert_close(modulator(tokens[:, 6:], WeightMaps(None, maps.image))[0], both[:, 6:])


def test_tokens_of_zeros_do_not_change():
    _, maps = sample()
    result, change = FeatureModulator(4, modulation_type="channel_wise")(torch.zeros(2, 14, 4), maps)
    assert not result.any() and float(change) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(modulation_type="global"), "modulation_type is 'global'.*'element_wise', 'channel_wise', 'adaptive'"),
        (dict(activation="gelu"), "activation is 'gelu'.*'none', 'sigmoid', 'tanh', 'relu'"),
        (dict(residual_weight=1.2), r"residual_weight is 1.2.*\[0, 1\]"),
        (dict(residual_weight=-0.1, residual_connection=True), r"residual_weight is -0.1.*\[0, 1\]"),
        (dict(residual_weight=math.nan), "residual_weight is nan"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        FeatureModulator(4, **arguments)


@pytest.mark.parametrize("kind", ["channel_wise", "adaptive"])
def test_tokens_of_another_width_are_named(kind):
    with pytest.raises(ConfigError, match="embed_dims of the FeatureModulator is 256 but the tokens have 4 channels"):
        FeatureModulator(modulation_type=kind)(*sample())


def test_one_factor_per_token_needs_no_width():
    assert torch.equal(FeatureModulator()(*sample())[0], FeatureModulator(4)(*sample())[0])
