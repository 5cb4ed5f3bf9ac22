from __future__ import annotations

import io
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Box, LazyImage
from jepa_vlm.trajectories import image as image_module

RED = Image.new("RGB", (6, 4), (255, 0, 0))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind)
    return stream.getvalue()


@pytest.fixture(params=["path", "data", "pixels"])
def red(request, tmp_path):
    (tmp_path / "red.png").write_bytes(encoded(RED))
    given = {"path": tmp_path / "red.png", "data": encoded(RED), "pixels": RED}
    return LazyImage(**{request.param: given[request.param]})


def test_every_source_gives_size_and_pixels(red):
    assert red.size == (6, 4)
    assert red.load().mode == "RGB"
    assert red.load().tobytes() == RED.tobytes()


def test_other_modes_become_rgb():
    assert LazyImage(pixels=Image.new("L", (2, 2), 7)).load().getpixel((0, 0)) == (7, 7, 7)
    assert LazyImage(data=encoded(Image.new("P", (2, 2)), "GIF")).load().mode == "RGB"


@pytest.mark.parametrize("given", [{}, {"data": b"", "pixels": RED}])
def test_exactly_one_source_is_needed(given):
    with pytest.raises(ValueError, match="exactly one of path, data, read, pixels"):
        LazyImage(**given)


@pytest.mark.parametrize("use", [lambda image: image.size, LazyImage.load])
def test_a_missing_file_is_named_with_its_origin(tmp_path, use):
    with pytest.raises(DataError, match=r"gone\.png \(d\.jsonl:3\) does not exist"):
        use(LazyImage(path=tmp_path / "gone.png", origin="d.jsonl:3"))


def test_what_is_no_image_is_refused():
    with pytest.raises(DataError, match="an embedded image is not a readable image"):
        LazyImage(data=b"words").load()


def test_a_cut_file_has_a_size_but_no_pixels():
    noisy = Image.effect_noise((64, 64), 50)
    cut = LazyImage(data=encoded(noisy)[:200])
    assert cut.size == (64, 64)
    with pytest.raises(DataError, match="cannot be decoded"):
        cut.load()


def test_a_resized_image_is_scaled_whenever_it_is_loaded(red):
    small = replace(red, resized=(3, 2))
    assert small.size == small.load().size == (3, 2)
    assert red.size == red.load().size


@pytest.mark.parametrize("use", [lambda image: image.size, LazyImage.load])
def test_absurd_sizes_are_refused_from_any_source(red, monkeypatch, use):
    monkeypatch.setattr(image_module, "MAX_PIXELS", 23)
    with pytest.raises(DataError, match=r"is 6 x 4 = 24 pixels, limit 23; shrink it first"):
        use(red)


def test_a_photograph_lies_as_viewers_show_it():
    lying = Image.new("RGB", (6, 4))
    lying.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[274] = 6  # to be turned by 90 degrees clockwise: the first pixel comes to the upper right
    stream = io.BytesIO()
    lying.save(stream, format="PNG", exif=exif)
    for image in (LazyImage(data=stream.getvalue()), LazyImage(pixels=Image.open(stream))):
        shown = image.load()
        assert image.size == shown.size == (4, 6)
        assert shown.getpixel((3, 0)) == (255, 255, 255)
        assert not shown.getexif().get(274)  # or the next reader would turn it again


@pytest.mark.parametrize(
    "exif",
    [
        b"XXXX not a TIFF at all",
        b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 274, 2, 4, b"six\0", 0),  # the orientation, in words
        b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 2, 1 << 30, 0),  # beyond the end
    ],
)
def test_broken_exif_says_nothing(exif):
    stream = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(stream, format="JPEG", exif=b"Exif\0\0" + exif)
    image = LazyImage(data=stream.getvalue())
    assert image.size == image.load().size == (6, 4)


def test_kinds_that_run_programs_or_hide_their_size_are_not_opened(tmp_path):
    for kind in ("EPS", "ICO"):
        with pytest.raises(DataError, match=r"not a readable image of the kinds .*JPEG.*PNG") as caught:
            LazyImage(data=encoded(RED, kind)).size  # noqa: B018
        assert caught.value.problem == "image unreadable"


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"])
def test_the_kinds_of_pictures_are_opened(kind):
    image = LazyImage(data=encoded(Image.new("RGB", (16, 16), "red"), kind))
    assert image.size == image.load().size == (16, 16)


@pytest.mark.parametrize("error", [struct.error("x"), KeyError("x"), Image.DecompressionBombError("x")])
def test_whatever_a_decoder_raises_is_one_message(monkeypatch, error):
    def broken(image: Image.Image) -> Image.Image:
        raise error

    monkeypatch.setattr(image_module, "_upright_rgb", broken)
    with pytest.raises(DataError, match="cannot be decoded"):
        LazyImage(data=encoded(RED)).load()


def test_sixteen_bits_keep_their_shades():
    grey = Image.new("I;16", (2, 1))
    grey.putpixel((0, 0), 65535)
    grey.putpixel((1, 0), 32768)
    pixels = LazyImage(data=encoded(grey)).load()
    assert [pixels.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (128, 128, 128)]


def test_size_is_refused_by_one_message(recwarn):
    with pytest.raises(DataError, match="shrink it first"):
        LazyImage(data=encoded(Image.new("1", (10_000, 9_000)))).load()
    assert not recwarn.list


def test_a_digest_is_of_the_file_or_of_the_pixels_undecoded(tmp_path, monkeypatch):
    red, other = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "red")
    other.putpixel((3, 3), (254, 0, 0))
    digests = [LazyImage(pixels=picture).digest() for picture in (red, red.copy(), other)]
    assert digests[0] == digests[1] != digests[2]
    assert LazyImage(pixels=Image.new("RGB", (2, 8), "red")).digest() != digests[0]
    path = tmp_path / "red.png"
    red.save(path)
    monkeypatch.setattr(LazyImage, "load", lambda self: pytest.fail("decoded"))
    assert LazyImage(path=path).digest() == LazyImage(data=path.read_bytes()).digest()
    assert LazyImage(read=path.read_bytes).digest() == LazyImage(path=path).digest()
    region = Box(0, 0, 0.5, 0.5, relative=True)
    parts = [LazyImage(path=path, **change) for change in ({}, {"resized": (2, 2)}, {"region": region})]
    assert len({part.digest() for part in parts}) == len({part.source for part in parts}) == 3
    one, same, other = (LazyImage(read=partial(Path.read_bytes, tmp_path / name)) for name in ("a", "a", "b"))
    assert one.source == same.source != other.source
    with pytest.raises(DataError, match="does not exist"):
        LazyImage(path=tmp_path / "gone.png").digest()


def test_a_region_is_cut_whenever_the_image_is_loaded(tmp_path):
    whole = Image.new("RGB", (40, 20), "red")
    whole.paste((0, 0, 255), (10, 5, 30, 15))
    whole.save(tmp_path / "a.png")
    cut = LazyImage(path=tmp_path / "a.png", region=Box(0.25, 0.25, 0.75, 0.75, relative=True))
    assert cut.size == cut.load().size == (20, 10)
    assert cut.load().tobytes() == bytes([0, 0, 255] * 200)
    assert replace(cut, resized=(4, 2)).load().size == (4, 2)


def test_bytes_are_read_whenever_they_are_needed(tmp_path):
    RED.save(tmp_path / "a.png")
    reads = []

    def read() -> bytes:
        reads.append(1)
        return (tmp_path / "a.png").read_bytes()

    image = LazyImage(read=read)
    assert not reads
    assert (image.size, image.load().size, len(reads)) == ((6, 4), (6, 4), 2)
    assert image.encoded() == LazyImage(path=tmp_path / "a.png").encoded()
