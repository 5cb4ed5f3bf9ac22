from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from transformers.image_transforms import convert_to_rgb

from jepa_vlm.errors import DataError
from jepa_vlm.trajectories import Box, LazyImage
from jepa_vlm.trajectories import image as image_module

RED = Image.new("RGB", (6, 4), (255, 0, 0))


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def noise(mode: str) -> Image.Image:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8))
    if mode == "P":
        return picture.quantize(16)  # a palette with transparent entries
    return picture.convert("RGB").convert("P").convert(mode) if mode == "PA" else picture.convert("RGB").convert(mode)


@pytest.fixture(params=["path", "data", "pixels"])
def red(request, tmp_path):
    (tmp_path / "red.png").write_bytes(encoded(RED))
    given = {"path": tmp_path / "red.png", "data": encoded(RED), "pixels": RED}
    return LazyImage(**{request.param: given[request.param]})


def test_every_source_of_an_image_gives_size_and_pixels(red):
    assert red.size == (6, 4)
    assert red.load().mode == "RGB"
    assert red.load().tobytes() == RED.tobytes()


def test_pictures_in_other_modes_become_rgb():
    assert LazyImage(pixels=Image.new("L", (2, 2), 7)).load().getpixel((0, 0)) == (7, 7, 7)
    assert LazyImage(data=encoded(Image.new("P", (2, 2)), "GIF")).load().mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "PNG"), ("PA", "TIFF"), ("P", "PNG"), ("P", "GIF"),
        ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("YCbCr", "TIFF"), ("L", "PNG"), ("1", "PNG"),
    ],
)  # fmt: skip
def test_a_file_becomes_the_picture_that_stock_processors_make_of_it(mode, kind):
    picture = noise(mode)
    if "A" in mode:
        picture.putalpha(Image.fromarray(np.linspace(0, 255, 63).astype(np.uint8).reshape(9, 7)))
    file = encoded(picture, kind)
    stock = convert_to_rgb(Image.open(io.BytesIO(file)), return_numpy=True)
    np.testing.assert_array_equal(np.asarray(LazyImage(data=file).load()), stock)


def test_transparent_pixels_become_white():
    black = Image.new("RGBA", (4, 1))
    black.putalpha(Image.fromarray(np.array([[0, 51, 204, 255]], dtype=np.uint8)))
    shown = np.asarray(LazyImage(data=encoded(black)).load())[0]
    assert shown.tolist() == [[255] * 3, [204] * 3, [51] * 3, [0] * 3]
    assert LazyImage(pixels=black).load().tobytes() == shown.tobytes()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_shown(kind):
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    file = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    red, _, blue = LazyImage(data=file).load().getpixel((8, 8))
    assert red > 250 > 5 > blue


@pytest.mark.parametrize("given", [{}, {"data": b"", "pixels": RED}])
def test_an_image_needs_exactly_one_source(given):
    with pytest.raises(ValueError, match="exactly one of path, data, read, pixels"):
        LazyImage(**given)


@pytest.mark.parametrize("use", [lambda image: image.size, LazyImage.load])
def test_a_missing_image_file_is_named_with_its_provenance(tmp_path, use):
    with pytest.raises(DataError, match=r"gone\.png \(d\.jsonl:3\) does not exist"):
        use(LazyImage(path=tmp_path / "gone.png", origin="d.jsonl:3"))


def test_a_file_that_is_no_image_is_refused():
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
def test_extreme_image_sizes_are_refused_from_any_source(red, monkeypatch, use):
    monkeypatch.setattr(image_module, "MAX_PIXELS", 23)
    with pytest.raises(DataError, match=r"is 6 x 4 = 24 pixels, limit 23; shrink it first"):
        use(red)


def test_a_photograph_is_oriented_as_viewers_show_it():
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "MPO"])
@pytest.mark.parametrize("orientation", [3, 5, 8])
def test_every_image_type_is_oriented_as_transformers_does(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    file = encoded(noise("RGB"), kind, exif=exif)
    stock = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
    image = LazyImage(data=file)
    assert image.size == stock.size
    assert image.load().tobytes() == stock.tobytes()


def test_an_orientation_in_xmp_turns_a_picture_too():
    file = encoded(noise("RGB"), "JPEG", xmp=XMP)
    stock = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    assert LazyImage(data=file).size == LazyImage(data=file).load().size == stock.size == (9, 7)


@pytest.mark.parametrize(
    "exif",
    [
        b"XXXX not a TIFF at all",
        b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 274, 2, 4, b"six\0", 0),  # the orientation, in words
        b"II*\0" + struct.pack("<IHHHIII", 8, 1, 274, 3, 2, 1 << 30, 0),  # beyond the end
    ],
)
def test_broken_exif_data_is_ignored(exif):
    stream = io.BytesIO()
    Image.new("RGB", (6, 4), "red").save(stream, format="JPEG", exif=b"Exif\0\0" + exif)
    image = LazyImage(data=stream.getvalue())
    assert image.size == image.load().size == (6, 4)


def test_image_types_that_run_programs_or_hide_their_size_are_refused(tmp_path):
    for kind in ("EPS", "ICO"):
        with pytest.raises(DataError, match=r"not a readable image of the kinds .*JPEG.*PNG") as caught:
            LazyImage(data=encoded(RED, kind)).size  # noqa: B018
        assert caught.value.problem == "image unreadable"


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"])
def test_common_image_types_are_opened(kind):
    image = LazyImage(data=encoded(Image.new("RGB", (16, 16), "red"), kind))
    assert image.size == image.load().size == (16, 16)


@pytest.mark.parametrize("error", [struct.error("x"), KeyError("x"), Image.DecompressionBombError("x")])
def test_whatever_a_decoder_raises_is_one_message(monkeypatch, error):
    def broken(image: Image.Image) -> Image.Image:
        raise error

    monkeypatch.setattr(image_module, "_upright_rgb", broken)
    with pytest.raises(DataError, match="cannot be decoded"):
        LazyImage(data=encoded(RED)).load()


GRAY = np.array([[0, 300, 32768, 65535]], dtype=np.uint16)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000", "PPM"])
def test_sixteen_bits_keep_their_shades(kind):
    options = {"irreversible": False} if kind == "JPEG2000" else {}
    pixels = LazyImage(data=encoded(Image.fromarray(GRAY), kind, **options)).load()
    assert [pixels.getpixel((x, 0)) for x in range(4)] == [(0,) * 3, (1,) * 3, (128,) * 3, (255,) * 3]


def test_a_transparent_shade_of_sixteen_bits_is_white():
    file = encoded(Image.fromarray(GRAY))
    before = file.index(b"IDAT") - 4
    body = b"tRNS" + struct.pack(">H", 300)
    file = file[:before] + struct.pack(">I", 2) + body + struct.pack(">I", zlib.crc32(body)) + file[before:]
    assert np.asarray(LazyImage(data=file).load())[0, :, 0].tolist() == [0, 255, 128, 255]


def test_twelve_bits_of_a_tiff_keep_their_shades():
    shades = bytes.fromhex("000064800fff")  # 0, 100, 2048, 4095
    tags = [
        (256, 3, 1, 4), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1),
        (278, 3, 1, 1), (279, 4, 1, 6),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    file = b"II*\0" + struct.pack("<I", 14) + shades + directory
    assert np.asarray(LazyImage(data=file).load())[0, :, 0].tolist() == [0, 6, 128, 255]


@pytest.mark.parametrize("use", [lambda image: image.size, LazyImage.load])
@pytest.mark.parametrize(("kind", "said"), [(np.int32, "32-bit whole numbers"), (np.float32, "fractions")])
def test_pixel_values_without_a_range_are_refused_not_clipped(kind, said, use):
    picture = Image.fromarray(np.array([[0, 70000]], dtype=kind))
    for image in (LazyImage(pixels=picture), LazyImage(data=encoded(picture, "TIFF"))):
        with pytest.raises(DataError, match=f"holds {said}.*save it with 8 or 16 bits") as caught:
            use(image)
        assert caught.value.problem == "image unreadable"


def test_open_pixels_that_cannot_be_converted_are_one_message():
    with pytest.raises(DataError, match="cannot be decoded"):
        LazyImage(pixels=Image.new("La", (2, 2))).load()


def test_a_too_large_image_is_one_message_without_a_warning(recwarn):
    with pytest.raises(DataError, match="shrink it first"):
        LazyImage(data=encoded(Image.new("1", (10_000, 9_000)))).load()
    assert not recwarn.list


def test_an_image_digest_is_of_the_file_bytes_or_the_pixels(tmp_path, monkeypatch):
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


def test_image_bytes_are_read_only_when_needed(tmp_path):
    RED.save(tmp_path / "a.png")
    reads = []

    def read() -> bytes:
        reads.append(1)
        return (tmp_path / "a.png").read_bytes()

    image = LazyImage(read=read)
    assert not reads
    assert (image.size, image.load().size, len(reads)) == ((6, 4), (6, 4), 2)
    assert image.encoded() == LazyImage(path=tmp_path / "a.png").encoded()
