"""The page's text and pictures, without a browser."""

import base64
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report import Comparison, PageData, TrainingCurve, render_page
from pipelines.report.curve import chart, ticks
from pipelines.report.pictures import diverging, jpeg, png, ramp, signed, telling_window, to_bytes

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Balance(HTMLParser):
    """Collects tags that are not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        """An SVG element that closes itself."""

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_the_page_is_whole_and_names_no_address(page_data: PageData) -> None:
    text = render_page(page_data)
    parser = Balance()
    parser.feed(text)
    assert parser.faults == [] and parser.open == []
    assert not re.search(r"(src|href|action)=[\"'](?!data:|#)", text)
    assert "http://" not in text and "https://" not in text and "url(" not in text


def test_order_of_sections_and_first_row_of_metrics(page_data: PageData) -> None:
    text = render_page(page_data)
    titles = re.findall(r'<section id="([a-z-]+)"', text)
    assert titles == [
        *("held-out", "real", "metrics", "training", "radius", "findings", "places", "next")
    ]
    rows = re.findall(r'<th scope="row">([^<]+)</th>', text)
    assert rows[0] == "input (mean of the views)" and rows[1] == "k3dn v1"


def test_a_page_without_data_has_no_empty_sections() -> None:
    text = render_page(PageData(notes=["nothing was at hand"]))
    assert "<section" not in text and "nothing was at hand" in text


def test_a_loss_is_shown_as_a_loss() -> None:
    black = np.zeros((32, 32, 3), np.uint8)
    worse = Comparison(title="p", input=black, output=black, input_psnr=30.0, output_psnr=29.25)
    text = render_page(PageData(real=[worse]))
    assert '<span class="gain worse">−0.75 dB</span>' in text


def test_pictures_of_different_sizes_are_refused() -> None:
    pair = Comparison(
        title="odd", input=np.zeros((32, 32, 3)), output=np.zeros((32, 33, 3), np.float32)
    )
    with pytest.raises(ValueError, match="odd: its pictures differ in size"):
        render_page(PageData(real=[pair]))
    with pytest.raises(ValueError, match=r"must be \(H, W, 3\)"):
        to_bytes(np.zeros((8, 8)))


def decoded(uri: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(uri.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def test_pictures_keep_their_colours() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    picture = cv2.resize(small, (60, 50), interpolation=cv2.INTER_CUBIC)
    back = decoded(jpeg(picture))[..., ::-1]
    assert np.abs(back.astype(int) - picture).mean() < 3
    rgba = rng.integers(0, 256, (9, 9, 4), dtype=np.uint8)
    np.testing.assert_array_equal(decoded(png(rgba))[..., [2, 1, 0, 3]], rgba)


@given(st.integers(0, 255))
def test_eight_bits_come_back_from_every_type(value: int) -> None:
    eight = np.full((2, 2, 3), value, np.uint8)
    for picture in (eight, eight.astype(np.uint16) * 257, eight / 255, (eight / 255).astype("f4")):
        np.testing.assert_array_equal(to_bytes(picture), eight)


def test_the_ramp_gets_brighter_all_the_way() -> None:
    colours = ramp(np.linspace(0, 1, 101)[None])[0].astype(float)
    lightness = colours @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > 0).all()
    assert ramp(np.array([[np.nan, -1.0, 2.0]])).shape == (1, 3, 3)


def test_near_and_far_have_colours_of_their_own_and_focus_has_none() -> None:
    far, focus, near = diverging(np.array([[-4.0, 0.0, 4.0]]), 4.0)[0].astype(int)
    assert far[0] > far[2] + 50 and near[2] > near[0] + 50
    assert np.ptp(focus) < 10 and focus.min() > 220
    # Further from focus is darker on both sides.
    lightness = diverging(np.linspace(-4, 4, 81)[None], 4.0)[0] @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness[:41]) > 0).all() and (np.diff(lightness[40:]) < 0).all()


def test_estimated_radii_stand_beside_the_true_ones_on_one_scale(page_data: PageData) -> None:
    text = render_page(page_data)
    section = text[text.index('id="radius"') : text.index('id="findings"')]
    images = [decoded(uri) for uri in re.findall(r'src="([^"]+)"', section)]
    middle = [image[16, 16, ::-1].astype(int) for image in images]
    expected = diverging(np.array([[2.5, -3.5]]), 4.0)[0].astype(int)
    np.testing.assert_allclose(middle[1:], expected, atol=3)
    assert "estimated, 6.00 px (RMS) from the truth" in section
    assert "far, 4 px" in section and "near, 4 px" in section
    wrong = replace(page_data.radii[0], true_px=np.zeros((32, 31)))
    with pytest.raises(ValueError, match=r"pair <0>: a radius map is \(32, 31\)"):
        render_page(PageData(radii=[wrong]))


def test_findings_say_what_the_in_focus_map_is(page_data: PageData) -> None:
    assert page_data.findings is not None
    assert "stripes that repeat every 8 px" in render_page(page_data)
    without = replace(page_data.findings, coc_px=None, kernels_deblur=False)
    text = render_page(PageData(findings=without))
    assert "1 / (1 + c)" in text and "Estimated blur radius" not in text
    assert "8 trained kernels that blur, 9 x 9 taps" in text


def test_signed_values_are_clear_at_zero_and_opaque_at_the_peak() -> None:
    image = signed(np.array([[0.0, 2.0, -2.0, 1e-9]]), 2.0)
    assert image[0, :, 3].tolist()[:3] == [0, 255, 255]
    assert image[0, 1, 2] > image[0, 1, 0] and image[0, 2, 0] > image[0, 2, 2]


@given(st.integers(0, 20), st.integers(0, 28))
def test_the_detail_is_where_most_was_gained(y: int, x: int) -> None:
    reference = np.full((32, 40, 3), 100, np.uint8)
    before, after = reference.copy(), reference.copy()
    before[y : y + 12, x : x + 12] = 180
    assert telling_window(before, after, reference, 12) == (y, x)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_round_few_and_inside(low: float, span: float) -> None:
    high = low + span
    if not span > 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high)
    assert 1 <= len(found) <= 12 or span < 1e-3
    assert all(low - 1e-6 * span <= t <= high + 1e-6 * span + 1e-9 for t in found)


def test_charts_survive_what_training_does() -> None:
    assert chart([], name="loss", unit="") == ""
    assert chart([(1, math.nan)], name="loss", unit="") == ""
    assert "<path" in chart([(5, 1.0)], name="loss", unit="")
    flat = chart([(step, 2.0) for step in range(5000)], name="loss", unit="")
    assert "nan" not in flat and len(flat) < 40_000
    assert "blurred input 24.00" in chart([(0, 25.0)], name="p", unit="dB", line_to_beat=24.0)
    assert "<section" not in render_page(PageData(curve=TrainingCurve()))
