"""The page in a real browser, on a phone and on a desk: whole, silent, offline, and no wider than the window."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from aqr_eval.report.frames import FrameRequest

sys.path.insert(0, str(Path(__file__).parent))
from chromium import chromium, find_chromium  # noqa: E402

pytestmark = pytest.mark.browser

PHONE, DESK = (390, 844), (1280, 800)
BROKEN = """Promise.all([...document.querySelectorAll("img, image")].map(async element => {
    const picture = new Image();
    picture.src = element.href ? element.href.baseVal : element.src;
    await picture.decode().catch(() => {});
    return picture.naturalWidth > 0 ? null : picture.src.slice(0, 60);
})).then(found => found.filter(Boolean))"""
DEAD_LINKS = """[...document.querySelectorAll("a[href]")].map(link => link.getAttribute("href"))
    .filter(href => !href.startsWith("#") || !document.getElementById(href.slice(1)))"""
SHOWN = "[...document.querySelectorAll({!r})].filter(element => element.getClientRects().length).length"
# What a finger is meant to press and would miss; the close link covers the whole window when it shows.
SMALL_TARGETS = """[...document.querySelectorAll("nav a, .toolbar label")]
    .filter(element => element.getBoundingClientRect().height < 44).length"""
# Text that a phone shows smaller than 9 CSS pixels.
SMALL_TEXT = """[...document.querySelectorAll(".chart text, .tag text")].filter(text => text.textContent)
    .map(text => [text.textContent, parseFloat(getComputedStyle(text).fontSize) * Math.hypot(
        text.getScreenCTM().a, text.getScreenCTM().b)]).filter(([_, size]) => size < 9)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_chromium()
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no Chromium: make test-browser installs it")
    with chromium(program, tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def report(build, dataroot, submissions, faulty, tmp_path):
    """Everything that a page can hold."""
    log = tmp_path / "scalars.jsonl"
    log.write_text("".join(f'{{"step": {step}, "train/loss": {9 / step}}}\n' for step in range(1, 90)))
    build(
        submissions={"faulty": faulty, "empty": submissions["empty"]},
        scalars={"faulty": log},
        figures={"a picture": dataroot / "samples/CAM_FRONT/0.jpg"},
        request=FrameRequest(1, 1),
    )
    return tmp_path / "report.html"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("window", [PHONE, DESK], ids=["phone", "desk"])
def test_page_is_whole_silent_offline_and_no_wider_than_the_window(browser, report, window, dark):
    browser.open(report, *window, dark=dark, phone=window is PHONE)
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [report.as_uri()]
    assert browser.run("document.querySelectorAll('img, image').length") > 6
    assert browser.run(BROKEN) == []
    assert browser.run(DEAD_LINKS) == []
    assert browser.run("document.documentElement.scrollWidth") == window[0]
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run("document.documentElement.scrollWidth") == window[0], "the tables behind the charts are wider"
    light = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light is not dark


def test_a_finger_and_an_eye_find_their_way_on_a_phone(browser, report):
    browser.open(report, *PHONE, phone=True)
    assert browser.run(SMALL_TARGETS) == 0
    assert browser.run(SMALL_TEXT) == []


def test_switches_show_and_hide_layers(browser, report):
    browser.open(report, *DESK)

    def shown(selector):
        return browser.run(SHOWN.format(selector))

    assert shown("figure .of-0 .edge") > 0 and shown("figure .of-1 .halo") == 0  # the better one comes first
    for kind, mark in (("predicted", ".edge"), ("true", ".edge"), ("mistake", ".halo"), ("mistake", ".mark")):
        assert shown(f"figure .{kind} {mark}") > 0
        browser.tap(f"[for=show-{kind}]")
        assert shown(f"figure .{kind} {mark}") == 0
        browser.tap(f"[for=show-{kind}]")
        assert shown(f"figure .{kind} {mark}") > 0
    browser.tap("[for=show-1]")  # the empty submission has missed everything
    assert shown("figure .of-0 .edge") == 0 and shown("figure .of-1 .halo") > 0


def test_a_picture_opens_over_the_page_and_closes(browser, report):
    browser.open(report, *PHONE, phone=True)
    closed = browser.run("document.querySelector('.cameras figure').getBoundingClientRect().height")
    browser.tap(".cameras figure a")
    opened = browser.run("document.querySelector('.cameras figure').getBoundingClientRect().toJSON()")
    assert (opened["width"], opened["height"]) == PHONE and closed < PHONE[1] / 2
    browser.tap(".cameras figure a.close")
    assert browser.run("document.querySelector('.cameras figure').getBoundingClientRect().height") == closed


def test_links_of_the_contents_scroll_to_their_sections(browser, report):
    browser.open(report, *DESK)
    browser.run("document.documentElement.style.scrollBehavior = 'auto'")
    browser.tap("nav a:last-child")
    assert browser.run("document.querySelector(location.hash).getBoundingClientRect().top") < DESK[1]
    assert browser.run("scrollY") > 0


def test_it_prints(browser, report, tmp_path):
    browser.open(report, *DESK)
    browser.print(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
