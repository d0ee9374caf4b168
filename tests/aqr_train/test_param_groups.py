"""Globs over parameter names, longest match wins, and what frozen means."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from aqr_core.errors import ConfigError
from aqr_train.param_groups import REST, build_grouping


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.neck = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.head = nn.ModuleDict({"scale": nn.Linear(1, 1), "out": nn.Linear(4, 1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head["out"](self.neck(self.backbone(x)))


def group_of(grouping, name: str):
    return next(group for group in grouping.groups if name in group.names)


def test_longest_match_wins_and_replaces_shorter_ones_whole() -> None:
    rules = {"head.*": {"lr_mult": 0.5, "decay_mult": 0.0}, "head.scale.*": {"lr_mult": 0.1}}
    grouping = build_grouping(Net(), 1.0, 0.01, rules)
    assert group_of(grouping, "head.out.weight").lr == 0.5 and group_of(grouping, "head.out.weight").weight_decay == 0
    assert (
        group_of(grouping, "head.scale.bias").lr == 0.1 and group_of(grouping, "head.scale.bias").weight_decay == 0.01
    )
    assert group_of(grouping, "neck.0.weight").pattern == REST


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = Net()
    grouping = build_grouping(model, 1.0, 0.0, {"*.bias": {"decay_mult": 0.0}, "backbone.*": {"frozen": True}})
    names = [name for group in grouping.groups for name in group.names]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert sum(group.size for group in grouping.groups) == sum(p.numel() for p in model.parameters())


def test_frozen_means_no_gradient_not_in_the_optimiser_and_eval_mode() -> None:
    model = Net()
    grouping = build_grouping(model, 0.1, 0.01, {"backbone.*": {"frozen": True}})
    optimizer = grouping.make_optimizer(model)
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    for _ in range(3):
        grouping.train_mode(model)
        model(torch.randn(8, 2)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not any(p.requires_grad for p in model.backbone.parameters())
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not held & {id(p) for p in model.backbone.parameters()}
    assert not any(module.training for module in model.backbone.modules()) and model.neck.training
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(before[name], value), name
    assert model.neck[1].num_batches_tracked == 3


def test_norm_eval_fixes_statistics_but_trains_the_weights() -> None:
    model = Net()
    grouping = build_grouping(model, 0.1, 0.0, {"neck.*": {"norm_eval": True}})
    grouping.train_mode(model)
    model(torch.randn(8, 2)).sum().backward()
    assert model.neck[1].num_batches_tracked == 0 and model.backbone[1].num_batches_tracked == 1
    assert model.neck[1].weight.grad is not None and model.neck[0].training


def test_a_longer_pattern_can_keep_a_part_of_a_frozen_module_trainable() -> None:
    model = Net()
    build_grouping(model, 0.1, 0.0, {"backbone.*": {"frozen": True}, "backbone.1.*": {"lr_mult": 0.1}})
    model.train()
    assert model.backbone[1].weight.requires_grad and model.backbone[1].training
    assert not model.backbone[0].weight.requires_grad and not model.backbone[0].training


def test_unmatched_pattern_is_an_error_with_near_misses() -> None:
    with pytest.raises(ConfigError, match=r"'bakbone\.\*' matches no parameter\. Did you mean .*'backbone\.\*'"):
        build_grouping(Net(), 1.0, 0.0, {"bakbone.*": {"frozen": True}})
    with pytest.raises(ConfigError, match="The model's parts: backbone, head, neck"):
        build_grouping(Net(), 1.0, 0.0, {"zzz": {}})


def test_patterns_without_effect_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    model = Net()
    model.backbone.requires_grad_(False)
    with caplog.at_level(logging.WARNING):
        grouping = build_grouping(model, 1.0, 0.0, {"backbone.*": {"lr_mult": 0.1}, "head.*": {}, "head.*.*": {}})
    assert "'backbone.*' matches frozen parameters only" in caplog.text
    assert "'head.*' has no effect" in caplog.text
    assert group_of(grouping, "backbone.0.weight").frozen


def test_lr_mult_0_is_frozen_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = Net()
    with caplog.at_level(logging.WARNING):
        build_grouping(model, 1.0, 0.0, {"neck.*": {"lr_mult": 0}})
    assert "lr_mult=0 is treated as frozen=True" in caplog.text and not model.neck[0].weight.requires_grad


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"neck.*": {"lr_mul": 1}}, "unknown key 'lr_mul'. Did you mean 'lr_mult'"),
        ({"neck.*": {"lr_mult": -1}}, "lr_mult is -1; it must be a number, 0 or more"),
        ({"*": {"frozen": True}}, "freezes every parameter"),
        ({"neck.*": {"lr_mult": "0.5"}}, "lr_mult is '0.5'; it must be a number"),
        ({"neck.*": {"decay_mult": float("nan")}}, "decay_mult is nan"),
        ({"neck.*": {"lr_mult": True}}, "lr_mult is True"),
        ({"neck.*": {"frozen": "false"}}, "frozen is 'false'; write True or False"),
        ({"neck.*": 0.1}, r"'neck.\*' is 0.1; give a dict such as dict\(lr_mult=0.1\)"),
        (["neck.*"], "optimizer.param_groups is .* give a dict of pattern"),
    ],
)
def test_wrong_rules(rules: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_grouping(Net(), 1.0, 0.0, rules)


def test_a_pattern_of_buffers_warns(caplog: pytest.LogCaptureFixture) -> None:
    """Such is a scale that a config fixes while the groups still name it."""
    with caplog.at_level(logging.WARNING):
        grouping = build_grouping(Net(), 1.0, 0.01, {"neck.1.running_mean": {"lr_mult": 0.5}})
    assert "'neck.1.running_mean' matches buffers only, which do not train" in caplog.text
    assert [group.pattern for group in grouping.groups] == [REST]


def test_of_equally_long_patterns_the_last_wins() -> None:
    """A config that adds a rule overrules its parent, whose rules stand first."""
    rules = {"*.bias": {"lr_mult": 0.5}, "neck.*": {"lr_mult": 0.1}}
    assert group_of(build_grouping(Net(), 1.0, 0.0, rules), "neck.0.bias").lr == 0.1
    turned = dict(reversed(rules.items()))
    assert group_of(build_grouping(Net(), 1.0, 0.0, turned), "neck.0.bias").lr == 0.5


def test_case_counts() -> None:
    with pytest.raises(ConfigError, match=r"'Neck\.\*' matches no parameter\. Did you mean .*'neck\.\*'"):
        build_grouping(Net(), 1.0, 0.0, {"Neck.*": {"frozen": True}})


def test_what_the_model_froze_stays_frozen_inside_a_group_that_trains() -> None:
    model = Net()
    model.backbone[0].requires_grad_(False)
    grouping = build_grouping(model, 1.0, 0.01, {"backbone.*": {"lr_mult": 0.1}})
    rows = [(group.pattern, group.frozen, len(group.names)) for group in grouping.groups]
    assert rows[:2] == [("backbone.*", False, 2), ("backbone.*", True, 2)]
    grouping.train_mode(model)
    assert model.backbone[1].training and not model.backbone[0].training


def test_a_pattern_whose_share_is_frozen_already_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """Longer patterns may take what still trains; frozen=True twice is worth a word too."""
    model = Net()
    model.backbone[0].requires_grad_(False)
    with caplog.at_level(logging.WARNING):
        build_grouping(model, 1.0, 0.0, {"backbone.*": {"frozen": True}, "backbone.1.*": {"lr_mult": 0.1}})
    assert "'backbone.*' matches frozen parameters only and has no effect: the model freezes them itself" in caplog.text


class Tied(nn.Module):
    """One weight under two names, the way a classifier may share the matrix of an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.classifier, self.rest = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)
        self.classifier.weight, self.classifier.bias = self.embedding.weight, self.embedding.bias


@pytest.mark.parametrize("pattern", ["embedding.*", "classifier.*"])
def test_a_tied_parameter_is_found_under_each_of_its_names(pattern: str) -> None:
    model = Tied()
    grouping = build_grouping(model, 1.0, 0.0, {pattern: {"frozen": True}})
    assert grouping.frozen_names == {"embedding.weight", "embedding.bias"}
    grouping.train_mode(model)
    assert not model.embedding.training and not model.classifier.training and model.rest.training
    assert [len(group["params"]) for group in grouping.make_optimizer(model).param_groups] == [2]


def test_of_the_names_of_a_tied_parameter_the_longest_match_wins() -> None:
    rules = {"embedding.*": {"frozen": True}, "classifier.*": {"lr_mult": 0.1}}
    grouping = build_grouping(Tied(), 1.0, 0.0, rules)
    assert group_of(grouping, "embedding.weight").lr == 0.1 and not grouping.frozen_names


def test_a_normalisation_without_weights_goes_with_the_module_around_it() -> None:
    model = nn.ModuleDict({"neck": nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4, affine=False)), "head": Net()})
    for rule in ({"frozen": True}, {"norm_eval": True}):
        grouping = build_grouping(model, 1.0, 0.0, {"neck.*": rule})
        grouping.train_mode(model)
        assert not model["neck"][1].training, rule
