"""Failures of the cameras: what happens to the pixels and to the calibration."""

from __future__ import annotations

import numpy as np
import pytest

from aqr_core.data.faults import (
    Brightness,
    CameraMisalignment,
    Darkness,
    Dirt,
    ImageFog,
    ImageMotionBlur,
    ImageSnow,
    ViewDrop,
    dirt_mask,
)
from aqr_core.data.faults.alignment import rotation
from aqr_core.data.faults.plasma import plasma, plasma_window
from aqr_core.errors import ConfigError
from aqr_core.structures.frames import invert_rigid
from aqr_eval.nuscenes.classes import CAMERAS


def rng(seed=0):
    return np.random.default_rng(seed)


def plain(*bgr, height=90, width=160):
    return np.full((height, width, 3), bgr, np.uint8)


def picture(seed=0, height=90, width=160):
    return rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_listed_views_are_black_and_the_others_untouched(load):
    clean, faulty = load(), load(dict(type="ViewDrop", cameras=("CAM_BACK", "CAM_FRONT")))
    for i, camera in enumerate(clean.info.cameras):
        lost = camera in ("CAM_BACK", "CAM_FRONT")
        assert faulty.images[i].any() != lost
        assert lost or np.array_equal(faulty.images[i], clean.images[i])
    np.testing.assert_array_equal(faulty.points, clean.points)
    np.testing.assert_array_equal(faulty.lidar2img, clean.lidar2img)
    assert faulty.faults == {"ViewDrop/images": 6, "ViewDrop/images_lost": 2}


@pytest.mark.parametrize(("argument", "values"), [("count", (1, 2, 4, 6)), ("probability", (0.2, 0.4, 0.6, 1.0))])
def test_lost_views_are_nested(argument, values):
    names = list(CAMERAS)
    for seed in range(50):
        lost = [ViewDrop(**{argument: value})._draw(names, rng(seed)) for value in values]
        assert all((more | ~less).all() for less, more in zip(lost, lost[1:], strict=False))
        assert argument != "count" or [int(x.sum()) for x in lost] == list(values)
    share = np.mean([ViewDrop(probability=0.4)._draw(names, rng(seed)).mean() for seed in range(500)])
    assert abs(share - 0.4) < 0.03


def test_brightness_keeps_hue_and_saturation():
    """Value 100 / 255 + 0.3 is 176.5; the colours scale with it. Black becomes grey, white stays."""
    image = np.array([[[100, 50, 0], [0, 0, 0], [255, 255, 255], [200, 100, 200]]], np.uint8)
    bright = Brightness(0.3).spoil(image, rng())
    assert bright.tolist() == [[[176, 88, 0], [76, 76, 76], [255, 255, 255], [255, 127, 255]]]
    np.testing.assert_array_equal(Brightness(0).spoil(picture(), rng()), picture())


def test_darkness_is_gamma_two_with_the_noise_of_photons():
    """Full range in the image; the level 204 is 0.8, squared 0.64, times 0.6 is 0.384."""
    image = plain(204, 204, 204, height=300, width=400)
    image[0, 0], image[0, 1] = 0, 255
    dark = Darkness(0.6, 250, 0.008).spoil(image, rng())[1:].astype(float) / 255
    assert dark.mean() == pytest.approx(0.384 - 0.5 / 255, abs=5e-4)  # cut down to a level
    assert dark.std() == pytest.approx(np.hypot(np.sqrt(0.384 / 250), 0.008), rel=0.02)
    assert abs(np.corrcoef(dark[:, :-1].ravel(), dark[:, 1:].ravel())[0, 1]) < 0.01


def test_darkness_against_drawn_poisson_numbers():
    level = np.arange(256)
    dark = np.stack(
        [
            Darkness(0.3, 50, 0.026).spoil(np.repeat(level, 3).reshape(1, 256, 3).astype(np.uint8), rng(s))
            for s in range(300)
        ]
    )
    draws = rng(1)
    light = np.broadcast_to((level / 255) ** 2 * 0.3, (900, 256))
    counted = np.clip(draws.poisson(light * 50) / 50, 0, 1)
    expected = (np.clip(counted + draws.normal(0, 0.026, light.shape), 0, 1) * 255).astype(np.uint8)
    found = dark.transpose(0, 1, 3, 2).reshape(900, 256)
    np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=2.5)
    np.testing.assert_allclose(found.std(axis=0), expected.std(axis=0), atol=2.0)


def test_blur_smears_a_line_and_keeps_even_images():
    image = plain(0, 0, 0)
    image[:, 80] = 255
    blurred = ImageMotionBlur(6).spoil(image, rng()).astype(float)
    row = blurred[45, :, 0]
    assert row[:81].any() and not row[81:].any() and not row[:49].any()  # one-sided, 31 px
    assert row.sum() == pytest.approx(255, rel=0.1)
    np.testing.assert_array_equal(ImageMotionBlur(13).spoil(plain(3, 90, 255), rng()), plain(3, 90, 255))
    change = [
        np.abs(ImageMotionBlur(std).spoil(picture(), rng()).astype(float) - picture()).mean() for std in (2, 6, 13)
    ]
    assert change == sorted(change)


def test_dirt_is_mixed_in_by_the_cube():
    image = picture(height=450, width=800)
    index = int(rng(3).integers(16))
    mask = dirt_mask(index).astype(float)
    alpha = (mask / 255) ** 3
    expected = alpha * image + (1 - alpha) * mask
    assert np.abs(Dirt().spoil(image, rng(3)) - expected).max() <= 1.6
    assert Dirt().spoil(picture(), rng(3)).shape == (90, 160, 3)


def test_the_masks_are_sixteen_white_with_dirt():
    masks = [dirt_mask(index) for index in range(16)]
    dirty = [float((mask.max(axis=2) < 250).mean()) for mask in masks]
    assert 0.05 < min(dirty) and max(dirty) < 0.85 and dirty[0] < dirty[15]
    assert len({mask.tobytes() for mask in masks}) == 16
    np.testing.assert_array_equal(dirt_mask(7), masks[7])


def test_dirt_differs_between_cameras_and_frames(load):
    fault = Dirt()
    drawn = {int(fault.draws(0, f"token{i}", camera).integers(16)) for i in range(20) for camera in CAMERAS}
    assert drawn == set(range(16))
    assert load(dict(type="Dirt")).faults["Dirt/images"] == 6


def test_fog_hides_more_away_from_the_road():
    image = picture(height=225, width=400)
    contrast = []
    for density, extinction in ((2.0, 0.0005), (3.0, 0.001), (4.0, 0.002)):
        foggy = ImageFog(density, extinction * 4).spoil(image, rng()).astype(float)
        contrast.append(foggy.std())
        assert foggy[:40].std() < foggy[-40:-5, 60:340].std()
    assert contrast == sorted(contrast, reverse=True)


def test_without_density_fog_is_grey_by_distance():
    """An extinction of 1 leaves half grey but for the square root of the side, 20 px; inside of the rectangle too."""
    foggy = ImageFog(0.0, 1.0).spoil(plain(200, 200, 200, height=225, width=400), rng())
    assert (foggy == 127).all()
    np.testing.assert_array_equal(ImageFog(0.0, 0.0).spoil(picture(), rng()), picture())


def test_snow_falls_and_pales():
    image = plain(60, 60, 60, height=225, width=400)
    mild = ImageSnow(0.3, 5, 0.9, 7, 0.9).spoil(image, rng())
    heavy = ImageSnow(0.5, 3, 0.8, 10, 0.8).spoil(image, rng())
    base = 0.9 * (0.9 * 60 + 0.1 * (1.5 * 60 + 127.5))
    assert abs(int(np.median(mild)) - base) <= 1
    assert mild.mean() < heavy.mean()
    assert (heavy > 150).mean() > (mild > 150).mean() > 0


def test_plasma_is_periodic_smooth_and_rough_at_will():
    smooth, rough = plasma(128, 2.5, rng()), plasma(128, 1.2, rng())
    assert smooth.min() == 0 and smooth.max() == 1
    step = [np.abs(np.diff(np.concatenate([f, f[:1]]), axis=0)).max() for f in (smooth, rough)]
    assert 2 * step[0] < step[1] < 0.5
    a, b = plasma_window(90, 160, 2, 1.7, rng())
    assert a.shape == b.shape == (90, 160) and not np.array_equal(a, b)


def test_cameras_move_by_half_the_published_angle(load):
    clean, faulty = load(), load(dict(type="CameraMisalignment"))
    full = load(dict(type="CameraMisalignment", half_angle=False))
    to_ego = clean.info.lidar.lidar2ego[:3, :3]
    for before, after, whole in zip(clean.lidar2cam, faulty.lidar2cam, full.lidar2cam, strict=True):
        angle, shift = moved(before, after)
        assert 0.5 - 1e-6 <= angle <= 2.5 + 1e-6
        assert moved(before, whole)[0] == pytest.approx(2 * angle)
        assert (np.abs(to_ego @ shift) > 0.005 - 1e-9).all() and (np.abs(to_ego @ shift) < 0.01 + 1e-9).all()
    assert 0.5 < faulty.faults["CameraMisalignment/mean_angle_deg"] < 2.5
    np.testing.assert_array_equal(np.stack(faulty.images), np.stack(clean.images))
    np.testing.assert_array_equal(faulty.cam2img, clean.cam2img)


def moved(before, after):
    """Angle in degrees and shift in the LiDAR frame, of a camera."""
    a, b = invert_rigid(before), invert_rigid(after)
    turn = b[:3, :3] @ a[:3, :3].T
    return np.degrees(np.arccos((np.trace(turn) - 1) / 2)), b[:3, 3] - a[:3, 3]


def test_shared_misalignment_moves_all_cameras_alike(load):
    clean, faulty = load(), load(dict(type="CameraMisalignment", shared=True))
    turns = [
        invert_rigid(b)[:3, :3] @ invert_rigid(a)[:3, :3].T
        for a, b in zip(clean.lidar2cam, faulty.lidar2cam, strict=True)
    ]
    np.testing.assert_allclose(turns, np.broadcast_to(turns[0], (6, 3, 3)), atol=1e-12)


def test_a_quarter_turn():
    np.testing.assert_allclose(rotation(np.array([0, 0, 2.0]), np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-15)


@pytest.mark.parametrize(
    ("fault", "arguments", "message"),
    [
        (ViewDrop, {}, "cameras=None, count=None, probability=None; give exactly one"),
        (ViewDrop, dict(cameras=["CAM_FRNT"]), "no camera 'CAM_FRNT'. Did you mean 'CAM_FRONT'"),
        (ViewDrop, dict(count=7), "count is 7; give 0 to 6 cameras"),
        (ViewDrop, dict(probability=1.5), "ViewDrop: probability is 1.5"),
        (Brightness, dict(gain=2), "gain is 2"),
        (Darkness, dict(brightest=2, photons=1, noise=1), "brightest=2"),
        (ImageMotionBlur, dict(std_px=0), "std_px is 0"),
        (ImageFog, dict(density=-1, extinction=0), "density=-1"),
        (ImageSnow, dict(mean=0, flake_px=0, threshold=0, smear_px=1, keep=1), "flake_px=0"),
        (CameraMisalignment, dict(angle_deg=(5, 1)), r"angle_deg is \(5, 1\); give two ascending"),
    ],
)
def test_wrong_arguments(fault, arguments, message):
    with pytest.raises(ConfigError, match=message):
        fault(**arguments)


@pytest.mark.parametrize("fault", [Dirt(), ViewDrop(count=1), CameraMisalignment()])
def test_wrong_places(new_frame, fault):
    frame = new_frame(0)  # its images are float32
    with pytest.raises(
        ConfigError, match="images of type float32 instead of uint8 in sample 'token'; put it right behind"
    ):
        fault(frame)
    frame.images = []
    with pytest.raises(ConfigError, match="finds no images"):
        fault(frame)
