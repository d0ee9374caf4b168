"""What the MOAD decoder adds to CMT's, with numbers; its parity with upstream is in test_golden_mome.py."""

from __future__ import annotations

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.head import CmtTransformer, MOADTransformer
from aqr_core.registry import MODELS, build

ATTENTION = dict(embed_dims=8, num_heads=2)
DECODER = dict(
    type="PETRTransformerDecoder",
    num_layers=2,
    transformerlayers=dict(
        type="PETRTransformerDecoderLayer",
        attn_cfgs=[dict(type="MultiheadAttention", **ATTENTION), dict(type="PETRMultiheadFlashAttention", **ATTENTION)],
        ffn_cfgs=dict(type="FFN", embed_dims=8, feedforward_channels=16),
    ),
)


def filled(value: float) -> torch.Tensor:
    return torch.full((1, 3, 8), value)


def test_type_vectors_mark_the_codes_of_the_modalities_that_are_there():
    transformer = MOADTransformer(DECODER)
    torch.nn.init.constant_(transformer.bev_type_embed, 10.0)
    torch.nn.init.constant_(transformer.rv_type_embed, 100.0)
    with torch.no_grad():
        both = transformer.query_position(filled(1.0), filled(2.0), has_lidar=True)
        lidar = transformer.query_position(filled(1.0), None, has_lidar=True)
        cameras = transformer.query_position(filled(1.0), filled(2.0), has_lidar=False)
    assert torch.equal(both, filled(113.0)) and torch.equal(lidar, filled(11.0)) and torch.equal(cameras, filled(102.0))


def test_cmt_marks_nothing_and_keeps_the_bev_code_of_a_camera_only_sample():
    transformer = CmtTransformer(DECODER)
    for has_lidar in (True, False):
        assert torch.equal(transformer.query_position(filled(1.0), filled(2.0), has_lidar=has_lidar), filled(3.0))
    assert torch.equal(transformer.query_position(filled(1.0), None, has_lidar=True), filled(1.0))
    memory = filled(5.0)
    assert transformer.values(memory, torch.eye(4).expand(1, 1, 4, 4), has_lidar=False) is memory


def test_values_of_a_camera_only_sample_are_scaled_per_camera():
    transformer = MOADTransformer(DECODER, use_cam_embed=True).eval()
    memory = torch.ones(2, 6, 8)  # two cameras of three tokens
    matrices = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        scaled = transformer.values(memory, matrices, has_lidar=False)
        alone = transformer.values(memory[:1, :3], matrices[:1, 1:], has_lidar=False)
    torch.testing.assert_close(scaled[0, 3:], alone[0])
    assert torch.equal(scaled[:, 0], scaled[:, 2]) and not torch.equal(scaled[:, 0], scaled[:, 3])
    assert transformer.values(memory, matrices, has_lidar=True) is memory
    assert MOADTransformer(DECODER).values(memory, matrices, has_lidar=False) is memory


def test_without_type_vectors_the_keys_are_those_of_cmt():
    transformer = MOADTransformer(DECODER, use_type_embed=False)
    assert transformer.state_dict().keys() == CmtTransformer(DECODER).state_dict().keys()
    assert torch.equal(transformer.query_position(filled(1.0), filled(2.0), has_lidar=True), filled(3.0))


def test_a_router_is_refused():
    with pytest.raises(ConfigError, match="MOADTransformer does not take 'encoder'"):
        build(dict(type="MOADTransformer", decoder=DECODER, encoder=dict(num_layers=1)), MODELS)
