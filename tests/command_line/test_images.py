"""Reading and preprocessing of small generated pictures, and labels of scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from ellc.ir.errors import EllcError
from ellc.ir.graph import LABELS_KEY, class_labels
from ellc.ir.types import DType, Quant, TensorType
from ellc.pictures import images
from ellc.pictures.images import crop_box, load_input, load_labels, load_picture, top_scores
from ellc.pictures.pixels import PixelOptions, Preprocessing

RGB_4x4 = TensorType(DType.F32, (1, 4, 4, 3))


def save(path: Path, pixels: object, mode: str | None = None) -> Path:
    Image.fromarray(np.asarray(pixels, dtype=np.uint8), mode).save(path)
    return path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A picture of 4 x 4 pixels, all (10, 20, 30)."""
    return save(tmp_path / "colours.png", np.full((4, 4, 3), (10, 20, 30)))


def test_default_is_bgr_without_scaling(colours: Path) -> None:
    tensor = load_input(colours, RGB_4x4, Preprocessing())
    assert tensor.shape == (1, 4, 4, 3) and tensor.dtype == np.float32
    assert tensor[0, 1, 2].tolist() == [30, 20, 10]


def test_metadata_sets_order_range_means_and_deviations(colours: Path) -> None:
    metadata = {
        "model.input.expectedColorChannelOrder": "RGB",
        "model.input.expectedPixelRangeLow": "0",
        "model.input.expectedPixelRangeHigh": "1",
        "model.input.redChannelMean": "0.5",
        "model.input.greenChannelMean": "0.25",
        "model.input.blueChannelStdDev": "0.5",
        "something.else": "x",
    }
    tensor = load_input(colours, RGB_4x4, Preprocessing.from_metadata(metadata))
    expected = [10 / 255 - 0.5, 20 / 255 - 0.25, 30 / 255 / 0.5]
    np.testing.assert_allclose(tensor[0, 3, 3], expected, rtol=1e-6)


def test_means_follow_their_colour_into_bgr_order(colours: Path) -> None:
    preprocessing = Preprocessing(mean=(1, 2, 3))
    assert load_input(colours, RGB_4x4, preprocessing)[0, 0, 0].tolist() == [27, 18, 9]


def test_all_bad_metadata_is_reported_at_once() -> None:
    with pytest.raises(EllcError) as caught:
        Preprocessing.from_metadata(
            {
                "model.input.expectedColorChannelOrder": "cmyk",
                "model.input.redChannelMean": "much",
                "model.input.redChannelStdDev": "0",
                "model.input.expectedPixelRangeHigh": "inf",
            }
        )
    assert len(caught.value.problems) == 4


def test_options_override_metadata() -> None:
    base = Preprocessing(order="rgb", high=1)
    assert PixelOptions().over(base) == base and not PixelOptions().is_given
    given = PixelOptions("bgr", "bgr", (-1, 1), (1, 1, 1), (2, 2, 2), (3, 4))
    assert given.over(base) == Preprocessing("bgr", -1, 1, (1, 1, 1), (2, 2, 2), "bgr", (3, 4))


@pytest.mark.parametrize(
    ("size", "network", "box"),
    [
        ((8, 4), (4, 4), (2, 0, 6, 4)),
        ((4, 8), (2, 2), (0, 2, 4, 6)),
        ((5, 4), (4, 4), (0, 0, 4, 4)),
        ((8, 8), (4, 8), (0, 2, 8, 6)),
        ((3, 3), (6, 6), (0, 0, 3, 3)),
        ((100, 1), (1, 9), (45, 0, 54, 1)),
        ((1, 100), (1, 9), (0, 49, 1, 50)),
    ],
)
def test_the_middle_is_cropped_to_the_networks_shape(size, network, box) -> None:
    assert crop_box(*size, *network) == box


def test_crop_and_scale_pick_the_middle(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 3))
    pixels[:, 2:6] = 200
    path = save(tmp_path / "wide.bmp", pixels)
    tensor = load_input(path, TensorType(DType.F32, (1, 2, 2, 3)), Preprocessing())
    assert np.array_equal(tensor, np.full((1, 2, 2, 3), 200, np.float32))


def test_grey_networks_take_colour_pictures(colours: Path) -> None:
    tensor = load_input(colours, TensorType(DType.F32, (4, 4, 1)), Preprocessing())
    assert tensor.shape == (4, 4, 1)
    assert np.all(tensor == round(0.299 * 10 + 0.587 * 20 + 0.114 * 30))


def test_other_kinds_of_picture_are_read(tmp_path: Path) -> None:
    alpha = save(tmp_path / "alpha.png", np.full((4, 4, 4), (10, 20, 30, 255)))
    assert load_input(alpha, RGB_4x4, Preprocessing())[0, 0, 0].tolist() == [30, 20, 10]
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 257 * 100, np.uint16)).save(deep)
    assert load_input(deep, RGB_4x4, Preprocessing())[0, 0, 0].tolist() == [100, 100, 100]
    palette = tmp_path / "palette.gif"
    Image.open(alpha).convert("RGB").quantize(4).save(palette)
    assert load_input(palette, RGB_4x4, Preprocessing())[0, 0, 0].tolist() == [30, 20, 10]


def test_the_orientation_in_exif_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise: the top row becomes the right column
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    tensor = load_input(
        tmp_path / "turned.png", TensorType(DType.F32, (1, 2, 2, 3)), Preprocessing()
    )
    assert tensor[0, :, :, 0].tolist() == [[0, 250], [0, 250]]


def test_integer_inputs_go_through_their_quantisation(colours: Path) -> None:
    quantised = TensorType(DType.I8, (1, 4, 4, 3), quant=Quant((0.5,), (-100,)))
    tensor = load_input(colours, quantised, Preprocessing(order="rgb", low=1, high=256))
    assert tensor.dtype == np.int8 and tensor[0, 0, 0].tolist() == [-78, -58, -38]
    as_stored = load_input(colours, quantised, Preprocessing(order="rgb"))
    assert as_stored[0, 0, 0].tolist() == [-118, -108, -98], "without a range, pixels minus 128"
    plain = TensorType(DType.U8, (1, 4, 4, 3))
    assert load_input(colours, plain, Preprocessing(low=-5))[0, 0, 0].tolist() == [26, 15, 5]


def test_arrays_are_not_preprocessed(tmp_path: Path) -> None:
    values = np.arange(48, dtype=np.float64)
    for shape in ((1, 4, 4, 3), (4, 4, 3), (48,)):
        np.save(tmp_path / "x.npy", values.reshape(shape))
        tensor = load_input(tmp_path / "x.npy", RGB_4x4, Preprocessing(mean=(9, 9, 9)))
        assert tensor.dtype == np.float32 and tensor.shape == (1, 4, 4, 3)
        assert tensor.ravel().tolist() == list(range(48))
    np.save(tmp_path / "x.npy", np.array([-1, 1, 0.5, -2]))
    signs = load_input(tmp_path / "x.npy", TensorType(DType.BIT, (4,)), Preprocessing())
    assert signs.tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("array", "type", "code"),
    [
        (np.zeros(47), RGB_4x4, "E721"),
        *((np.zeros(s), RGB_4x4, "E721") for s in ((3, 4, 4), (1, 3, 4, 4), (1, 1, 4, 4, 3))),
        *((np.zeros(s), RGB_4x4, "E721") for s in ((48, 1), (4, 12), (1, 48), (4, 4, 3, 1))),
        (np.zeros(48) + 2, TensorType(DType.BOOL, (48,)), "E722"),
        (np.zeros(48) + np.nan, TensorType(DType.I32, (48,)), "E722"),
        (np.zeros(48) + 300, TensorType(DType.U8, (48,)), "E722"),
        (np.zeros(48) + 0.5, TensorType(DType.I32, (48,)), "E722"),
        (np.zeros(48, "U3"), RGB_4x4, "E720"),
        (np.array([None] * 48), RGB_4x4, "E720"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, array, type: TensorType, code: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(EllcError) as caught:
        load_input(tmp_path / "x.npy", type, Preprocessing())
    assert caught.value.code == code and caught.value.where.endswith("x.npy")


@pytest.mark.parametrize("name", ["x.npy", "x.png"])
@pytest.mark.parametrize("content", [None, b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"])
def test_damaged_files_are_reported(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EllcError) as caught:
        load_input(tmp_path / name, RGB_4x4, Preprocessing())
    assert caught.value.where.endswith(name)


def test_cut_off_pictures_are_reported(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3))
    data = save(tmp_path / "whole.png", noise).read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(EllcError, match="cannot be read"):
        load_input(tmp_path / "half.png", RGB_4x4, Preprocessing())


def test_pictures_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch) -> None:
    path = save(tmp_path / "x.png", np.zeros((20, 20, 3)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(EllcError, match="pixels"):
        load_input(path, RGB_4x4, Preprocessing())


def test_networks_without_a_picture_input_are_refused(colours: Path) -> None:
    with pytest.raises(EllcError, match="does not take a picture"):
        load_input(colours, TensorType(DType.F32, (1, 1960)), Preprocessing())


def test_labels_and_ranking(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\ufeffcat\n dog \n\nowl\n\n", encoding="utf-8")
    labels = load_labels(tmp_path / "labels.txt")
    assert labels == ("cat", "dog", "", "owl")
    scores = top_scores(np.array([[0.5, np.nan, 0.7, 0.5, -np.inf, 0.1]]), labels, count=5)
    assert [(s.index, s.label) for s in scores] == [
        *((2, ""), (0, "cat"), (3, "owl"), (5, ""), (4, "")),
    ]
    assert len(top_scores(np.zeros(3), count=5)) == 3


def test_only_line_ends_separate_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_bytes("cat\u2028dog\r\nfox\x0b\x1ehen\rowl\n\n".encode())
    names = ("cat\u2028dog", "fox\x0b\x1ehen", "owl")
    assert load_labels(file) == names
    assert class_labels({LABELS_KEY: "\n".join(names)}) == names
    assert class_labels({}) == ()


def test_a_file_without_a_label_is_refused(tmp_path: Path) -> None:
    for text in ("", "\n \n"):
        (tmp_path / "labels.txt").write_text(text)
        with pytest.raises(EllcError, match="without a name") as caught:
            load_labels(tmp_path / "labels.txt")
        assert caught.value.code == "E730"


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\xff")
    for name in ("labels.txt", "nothing.txt"):
        with pytest.raises(EllcError):
            load_labels(tmp_path / name)


def test_a_picture_beyond_the_memory_is_an_error(
    colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resize(*_: object) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", resize)
    with pytest.raises(EllcError, match="more memory than there is") as caught:
        load_input(colours, RGB_4x4, Preprocessing())
    assert caught.value.code == "E715"


def scaled_as_a_whole(picture: Image.Image, rows: int, columns: int, mode: str) -> Image.Image:
    turned = ImageOps.exif_transpose(picture)
    assert turned is not None
    middle = images._eight_bit(turned.crop(crop_box(*turned.size, rows, columns)))
    return middle.convert(mode).resize((columns, rows), Image.Resampling.BILINEAR)


@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_is_scaled_in_bands(
    orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result equals that of rotating, cropping, converting and scaling the whole picture."""
    monkeypatch.setattr(images, "_BAND_PIXELS", 300)
    copied: list[int] = []
    crop, transpose = Image.Image.crop, Image.Image.transpose
    monkeypatch.setattr(Image.Image, "crop", noting(crop, copied))
    monkeypatch.setattr(Image.Image, "transpose", noting(transpose, copied))
    rng = np.random.default_rng(orientation)
    colours = Image.fromarray(rng.integers(0, 256, (50, 61, 3), np.uint8))
    path, exif = tmp_path / "x.png", Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    depth = Image.fromarray(rng.integers(0, 1 << 16, (50, 61)).astype(np.uint16))
    for picture in (*map(colours.convert, ("RGB", "L", "RGBA", "LA", "P", "1")), depth):
        picture.save(path, exif=exif)
        for rows, columns in ((7, 9), (50, 61), (80, 30), (16, 120)):
            for channels, mode in ((1, "L"), (3, "RGB")):
                copied.clear()
                got = load_picture(path, (rows, columns), channels)
                assert max(copied) <= 300
                with Image.open(path) as stored:
                    want = np.asarray(scaled_as_a_whole(stored, rows, columns, mode))
                np.testing.assert_array_equal(got, want.reshape(got.shape))


def noting(method: Callable[..., Image.Image], pixels: list[int]) -> Callable[..., Image.Image]:
    """A version of the method that records the number of pixels of its results."""

    def noted(*args: object) -> Image.Image:
        made = method(*args)
        pixels.append(made.width * made.height)
        return made

    return noted
