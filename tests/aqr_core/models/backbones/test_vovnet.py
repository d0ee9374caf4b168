"""VoVNet: official names, shapes, what stays fixed in training, and bad configs."""

from __future__ import annotations

import csv

import pytest
import torch

from aqr_core.errors import ConfigError
from aqr_core.models.backbones import VoVNet

SMALL = "V-19-slim-eSE"


def test_keys_and_shapes_are_the_official_ones(shared_dir):
    with open(shared_dir / "reference/vovnet99_state_dict.tsv") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    state = VoVNet("V-99-eSE").state_dict()
    ours = [(f"img_backbone.{key}", ",".join(map(str, value.shape)) or "scalar") for key, value in state.items()]
    assert ours == [(row["key"], row["shape"]) for row in rows]


@pytest.mark.parametrize(
    ("spec", "entries", "parameters"),
    # V-99: the sums over the official listing; the others differ from it in the number of blocks alone.
    [("V-99-eSE", 626, 69_523_520), ("V-57-eSE", 360, 41_454_912), ("V-39-eSE", 246, 25_184_128)],
)
def test_published_sizes(spec, entries, parameters):
    model = VoVNet(spec)
    assert (len(model.state_dict()), sum(p.numel() for p in model.parameters())) == (entries, parameters)


def test_strides_and_channels():
    names = ("stage5", "stem", "stage2", "stage3", "stage4")
    maps = VoVNet(SMALL, out_features=names)(torch.zeros(2, 3, 64, 96))
    shapes = [(128, 16, 24), (112, 16, 24), (256, 8, 12), (384, 4, 6), (512, 2, 3)]
    assert [tuple(m.shape[1:]) for m in maps] == shapes


def test_pooling_keeps_the_incomplete_last_window():
    # 72 px: stride 4 gives 18, then 3x3 windows at stride 2 without padding, the last one cut off: 9, 4, 2.
    names = ("stage2", "stage3", "stage4", "stage5")
    maps = VoVNet(SMALL, out_features=names)(torch.zeros(1, 3, 72, 72))
    assert [m.shape[-1] for m in maps] == [18, 9, 4, 2]


def test_norm_eval_fixes_statistics_but_not_affine_parameters():
    model = VoVNet(SMALL).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.randn(1, 3, 64, 64))[1].sum().backward()
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if "running" in key)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    moving = VoVNet(SMALL, norm_eval=False).train()
    moving(torch.randn(2, 3, 64, 64))
    assert not torch.equal(moving.stem[1].running_mean, before["stem.stem_1/norm.running_mean"])


def test_frozen_stages_have_no_gradient_and_stay_in_evaluation_mode():
    model = VoVNet(SMALL, norm_eval=False, frozen_stages=1).train()
    model(torch.randn(2, 3, 64, 64))[1].sum().backward()
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is None} == {"stem", "stage2"}
    assert not model.stage2.training and model.stage3.training
    assert all(p.requires_grad for p in VoVNet(SMALL, frozen_stages=-1).parameters())


def test_recomputing_blocks_changes_no_gradient():
    torch.manual_seed(0)
    plain, recomputing = VoVNet(SMALL).train(), VoVNet(SMALL, with_cp=True).train()
    recomputing.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64)
    saved = []
    for model in (plain, recomputing):
        count = 0

        def keep(tensor):
            nonlocal count
            count += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(images)[1].square().sum()
        saved.append(count)
        loss.backward()
    for (name, a), b in zip(plain.named_parameters(), recomputing.parameters(), strict=True):
        assert torch.equal(a.grad, b.grad), name
    assert saved[1] < saved[0] / 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(spec_name="V-99"), "'V-99' does not exist; use one of .*V-99-eSE"),
        (dict(spec_name=SMALL, out_features=("stage6",)), "stage6"),
        (dict(spec_name=SMALL, out_features=()), "must be among"),
    ],
)
def test_bad_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        VoVNet(**arguments)
