"""Where AQR starts: from nothing, from CMT, from another variant; and that it runs, trains and predicts from there."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from aqr_core.checkpoint import load_weights, save_checkpoint
from aqr_core.config import load_config
from aqr_core.errors import CheckpointError, ConfigError
from aqr_core.models import build_detector
from aqr_core.structures import Batch
from aqr_train.assembly import build_model
from aqr_train.checkpoints import SHIPPED

BASELINE = SHIPPED / "cmt_tiny"
V1, V2, V3 = "cmt_aqr_v1_tiny", "cmt_aqr_v2_tiny", "cmt_aqr_tiny"
HEAD = "pts_bbox_head."
GENERATOR = f"{HEAD}aqr_weight_generator."
PREDICTOR = (f"{GENERATOR}predictor.weight", f"{GENERATOR}predictor.bias")
OTHER = "AQR predictor, which the file holds for another variant: it starts neutral"


@pytest.fixture(scope="module")
def batch() -> Batch:
    """One sample of the tiny configs' geometry: noise, and three boxes."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(4000, 5, generator=generator) * torch.tensor([60.0, 60.0, 4.0, 255.0, 0.5])
    points -= torch.tensor([30.0, 30.0, 3.0, 0.0, 0.0])
    to_image = torch.tensor([[200.0, 0, 176, 0], [0, 200, 64, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    cameras = []
    for camera in range(6):
        c, s = math.cos(camera * math.pi / 3), math.sin(camera * math.pi / 3)
        lidar2cam = [[s, -c, 0, 0], [0, 0, -1, -0.3], [c, s, 0, -1.0], [0, 0, 0, 1]]
        cameras.append(to_image @ torch.tensor(lidar2cam, dtype=torch.float64))
    boxes = torch.tensor(
        [[10.0, 2, -1, 4, 2, 1.5, 0.3, 1, 0], [-5, 8, -1, 1, 1, 1.7, 0, 0, 0], [2, -9, 0, 9, 3, 3, 1, 0, 0]]
    )
    return Batch(
        tokens=["sample"],
        points=[points],
        images=torch.randn(1, 6, 3, 128, 352, generator=generator),
        lidar2img=torch.stack(cameras)[None],
        gt_boxes=[boxes],
        gt_labels=[torch.tensor([0, 8, 1])],
        seeds=[1],
    )


def detector(name: str, *overrides: str):
    torch.manual_seed(0)
    return build_detector(load_config(name, [f"model.{HEAD}{override}" for override in overrides]).model)


def trained(name: str, folder: Path) -> Path:
    """A checkpoint of a variant whose every AQR tensor differs from any initial value."""
    model = detector(name)
    load_weights(model, BASELINE, strict=False)
    for key, value in model.state_dict().items():
        if key.startswith((GENERATOR, f"{HEAD}attention_bias")):
            value.fill_(0.75)
    return save_checkpoint(folder / name, model, "", {"step": 1})


@pytest.mark.parametrize("name", [V1, V2, V3])
def test_from_cmt_weights_it_predicts_as_the_baseline(name: str, batch: Batch) -> None:
    outputs = []
    for model in (detector("cmt_tiny"), detector(name)):
        report = load_weights(model, BASELINE, strict=False)
        model.eval()
        with torch.no_grad():
            maps = model.extract_bev(batch.points), model.extract_images(batch.images)
            outputs.append(model.pts_bbox_head(*maps, batch.lidar2img, batch.pad_shape))
        outputs.append(model.predict(batch)[0])
    assert all(key.startswith((GENERATOR, f"{HEAD}attention_bias")) for keys in report.absent.values() for key in keys)
    assert (
        not report.missing
        and not report.unexpected
        and set(PREDICTOR) <= {k for ks in report.absent.values() for k in ks}
    )
    plain, plain_boxes, routed, boxes = outputs
    for branch in ("cls_logits", "center", "height", "dim", "rot", "vel"):
        torch.testing.assert_close(getattr(routed, branch), getattr(plain, branch), atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes.boxes, plain_boxes.boxes, atol=1e-5, rtol=0)
    torch.testing.assert_close(boxes.scores, plain_boxes.scores, atol=1e-5, rtol=0)
    assert torch.equal(boxes.labels, plain_boxes.labels) and len(boxes.scores) > 0


@pytest.mark.parametrize("name", [V1, V2, V3, "cmt_aqr_tiny_scratch"])
def test_a_variant_trains_and_predicts(name: str, batch: Batch) -> None:
    model, grouping = build_model(load_config(name))
    optimizer = grouping.make_optimizer(model)
    grouping.train_mode(model)
    before = {key: value.clone() for key, value in model.named_parameters()}
    for _ in range(2):  # the last layer starts at zero, so the rest of the generator learns from the second step on
        optimizer.zero_grad()
        losses = model(batch)
        losses["loss"].backward()
        optimizer.step()
    assert losses["loss"].isfinite() and "loss_aqr" not in losses
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert {key for key in before if key.startswith(GENERATOR)} <= moved and not moved & grouping.frozen_names
    (found,) = model.eval().predict(batch)
    assert len(found.scores) > 0 and found.boxes.isfinite().all()


@pytest.mark.parametrize(("shape", "field"), [((30, 32), "bev_feature_shape"), ((6, 8, 20), "pers_feature_shape")])
def test_a_shape_that_is_not_the_backbones_is_named_with_it(shape: tuple[int, ...], field: str, batch: Batch) -> None:
    model = detector(V1, f"aqr_config.{field}={shape}")
    real = (32, 32) if field.startswith("bev") else (6, 8, 22)
    with pytest.raises(ConfigError, match=re.escape(f"{field} is {shape} but the feature map is {real}")):
        model.predict(batch)


@pytest.mark.parametrize(("source", "target"), [(V3, V1), (V3, V2), (V1, V3), (V2, V3)])
def test_another_variants_predictor_and_scale_stay_out(
    source: str, target: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = trained(source, tmp_path)
    model = detector(target)
    report = load_weights(model, path, strict=False)
    assert not report.unexplained() and report.absent[OTHER] == PREDICTOR
    assert not model.pts_bbox_head.aqr_weight_generator.predictor.weight.any()
    kept = {key: value for key, value in model.state_dict().items() if key.startswith(GENERATOR)}
    assert all((value == 0.75).all() for key, value in kept.items() if key not in PREDICTOR) and len(kept) == 16
    scale = (f"{HEAD}attention_bias_generator.bias_scale",)
    if source == V3:
        assert report.unused == {"AQR of another variant, which this model does not have": scale}
    else:
        assert report.absent["AQR attention bias, which the file does not hold: it starts as configured"] == scale
        assert model.pts_bbox_head.attention_bias_generator.bias_scale.item() == 2.5
    with caplog.at_level("INFO"):
        report.log(path)
    assert f"initial: {', '.join(PREDICTOR)}" in caplog.text and scale[0] in caplog.text
    with pytest.raises(CheckpointError, match=r"missing: .*\(AQR .*or train from it with load_from"):
        load_weights(detector(target), path)  # as prediction does


def test_v1_and_v2_share_their_weights(tmp_path: Path) -> None:
    report = load_weights(detector(V2), trained(V1, tmp_path))
    assert not report.explained and not report.unexplained()


LEARNED, SCHEDULE = "modulator_config.learnable_modulation=True", "renderer_config.clamp_schedule=[(0,2.5),(6,2.0)]"
GAIN, BOUND = f"{HEAD}feature_modulator.modality_gain", f"{HEAD}weight_renderer.clamp_max"


def test_what_options_of_a_variant_add_and_what_another_does_with_it(tmp_path: Path) -> None:
    plain, full = detector(V2), detector(V2, LEARNED, SCHEDULE)
    path = save_checkpoint(tmp_path / "plain", plain, "", {"step": 1})
    assert load_weights(full, path, strict=False).absent == {
        "AQR learned modulation, which the file does not hold: it starts neutral": (GAIN,),
        "AQR clamp schedule, which the file does not hold: it starts at its first epoch": (BOUND,),
    }
    path = save_checkpoint(tmp_path / "full", full, "", {"step": 1})
    clamp = {"AQR clamp schedule, which this model does not have: max_weight_clamp holds": (BOUND,)}
    assert load_weights(detector(V2, LEARNED), path).unused == clamp
    with pytest.raises(CheckpointError, match=f"unexpected: {re.escape(GAIN)}"):
        load_weights(plain, path)
    report = load_weights(detector(V3), path, strict=False)
    assert report.unused == {**clamp, "AQR of another variant, which this model does not have": (GAIN,)}


def test_the_same_variant_takes_everything(tmp_path: Path) -> None:
    model = detector(V3)
    assert not load_weights(model, trained(V3, tmp_path)).explained
    assert model.pts_bbox_head.attention_bias_generator.bias_scale.item() == 0.75


def test_a_file_without_predictor_is_damaged_and_no_other_variant(tmp_path: Path) -> None:
    state = {key: value for key, value in detector(V3).state_dict().items() if key not in PREDICTOR}
    torch.save(state, tmp_path / "w.pth")
    assert load_weights(detector(V3), tmp_path / "w.pth", strict=False).missing == PREDICTOR


def test_a_run_starts_from_another_variant(tmp_path: Path, batch: Batch) -> None:
    config = load_config(V1, [f"load_from={trained(V3, tmp_path)}"])
    model, _ = build_model(config)
    model.eval().predict(batch)
    assert (model.pts_bbox_head.last_aqr.weights == 1).all()


def test_the_routers_detector_serves_aqr(tmp_path: Path) -> None:
    router = detector("cmt_router_tiny")
    load_weights(router, BASELINE, strict=False)
    path = save_checkpoint(tmp_path / "router", router, "", {"step": 1})
    report = load_weights(detector(V3), path, strict=False)
    assert len(report.loaded) == 365 and not report.unexplained()
    assert [reason.split(",")[0] for reason in report.unused] == ["MoME router"]
    assert sum(len(keys) for keys in report.absent.values()) == 17


def test_frozen_parts_need_weights() -> None:
    with pytest.raises(ConfigError, match="load_from is not set"):
        build_model(load_config(V1, ["load_from=None"]))


def test_aqr_loss_joins_the_sum(batch: Batch) -> None:
    model = detector(V3, "aqr_loss={'type':'SensorLoss','loss_weight':0.5}").eval()
    losses = model(batch)  # both sensors work and the weights are neutral
    assert losses["loss_aqr"] == 0
    blind = Batch(**{**vars(batch), "working": torch.tensor([[True, False]])})
    losses = model(blind)
    assert losses["loss_aqr"].item() == pytest.approx(0.5 * 0.25)  # (1/2 - 1)^2 and (1/2 - 0)^2
    assert losses["loss"].item() == pytest.approx(sum(v.item() for k, v in losses.items() if k != "loss"), rel=1e-6)
    losses["loss_aqr"].backward()
    lidar, camera = model.pts_bbox_head.aqr_weight_generator.predictor.bias.grad
    assert lidar < 0 < camera


def test_aqr_loss_needs_aqr_and_the_state_of_the_sensors(batch: Batch) -> None:
    with pytest.raises(ConfigError, match="aqr_loss, but no AQR"):
        detector("cmt_tiny", "aqr_loss={'type':'SensorLoss'}")
    model = detector(V1, "aqr_loss={'type':'SensorLoss'}").eval()
    with torch.no_grad():
        maps = model.extract_bev(batch.points), model.extract_images(batch.images)
        out = model.pts_bbox_head(*maps, batch.lidar2img, batch.pad_shape)
    with pytest.raises(ConfigError, match="Batch.working"):
        model.pts_bbox_head.loss(out, batch.gt_boxes, batch.gt_labels)
