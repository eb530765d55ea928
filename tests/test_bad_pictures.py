"""What is no picture, or a damaged one, is one clear sentence."""

from __future__ import annotations

import errno
import io

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, PngImagePlugin
from sample_pictures import encoded

from preproc.errors import ImageError
from preproc.pictures.images import decode
from preproc.pictures.opening import open_picture


def truncated_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")[:1500]


def animation():
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "is not a picture in a known format"),
        (truncated_jpeg(), "is truncated or damaged"),
        (truncated_jpeg()[:100], "is (truncated or damaged|no picture)"),
        (animation(), "holds 2 frames"),
        (None, "A NoneType is not a picture"),
        (3.5, "A float is not a picture"),
        ("https://a.example/b.png", "URLs are not fetched.*pass its content as bytes"),
        (np.zeros((0, 5, 3), np.uint8), "has no px"),
        (np.zeros((5, 0), np.float32), "has no px"),
        (torch.zeros(3, 0, 5), "has no px"),
        (torch.zeros(0, 3, 5, 5), "has no px"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((3, 40, 50), np.uint8), r"shape \(3, 40, 50\); pass channels-first data as a t"),
        (np.zeros((2, 4, 5, 3), np.uint8), "several pictures as a list"),
        (torch.zeros(40, 50, 3), r"shape \(40, 50, 3\); pass channels-last data as a numpy"),
        (torch.zeros(40, 50), r"shape \(40, 50\)"),
        (np.zeros((5, 5), np.int32), "int32"),
        (np.zeros((5, 5), bool), "bool"),
        (np.array([["a"]]), "<U1"),
        (torch.zeros(3, 5, 5, dtype=torch.int64), "int64"),
        (np.full((5, 5), np.nan), "NaN"),
        (torch.full((3, 5, 5), float("inf")), "NaN or infinite"),
        (np.full((5, 5), 255.0), "reach from 255 to 255; divide by"),
        (np.full((5, 5, 4), [0.0, 0.0, 0.0, 255.0]), "reach from 0 to 255; divide by"),
        (torch.full((3, 5, 5), -2.5), "from -2.5 to -2.5; if they were normalised, enhance before"),
        (np.full((5, 5), -1.0, np.float32), "reach from -1 to -1"),
        (Image.fromarray(np.full((4, 4), 65536, np.int32)), "from 65536 to 65536"),
        (Image.fromarray(np.full((4, 4), -1, np.int32)), "from -1 to -1"),
        (Image.fromarray(np.full((4, 4), 0.5, np.float32)), "F counts from 0 to 255.*0.5 to 0.5"),
        (Image.fromarray(np.eye(4, dtype=np.float32)), "F counts from 0 to 255.*0 to 1;"),
        (Image.fromarray(np.full((4, 4), 4000.0, np.float32)), "F counts from 0 to 255"),
        (Image.fromarray(np.full((4, 4), -900.0, np.float32)), "F counts from 0 to 255"),
        (Image.fromarray(np.full((4, 4), np.nan, np.float32)), "NaN"),
    ],
)
def test_bad_input_is_one_clear_sentence(bad, sentence):
    with pytest.raises(ImageError, match=sentence) as caught:
        decode(bad)
    assert "\n" not in str(caught.value)


def test_bad_paths_name_the_path(tmp_path):
    empty, text = tmp_path / "empty.png", tmp_path / "text.png"
    empty.touch()
    text.write_text("hello")
    for path, sentence in (
        (tmp_path / "none.png", "There is no file .*none.png"),
        (tmp_path, "cannot be read: Is a directory"),
        (empty, "empty.png is empty"),
        (text, "text.png is not a picture"),
    ):
        with pytest.raises(ImageError, match=sentence):
            decode(path)


def test_eps_without_ghostscript_is_not_called_damaged(monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", False)
    with pytest.raises(ImageError, match=r"is EPS, which Pillow draws by Ghostscript, .* convert"):
        decode(encoded(Image.new("RGB", (8, 8)), "EPS"))


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.zeros(3, 8, 8, device="meta"), "meta"),
        (torch.zeros(3, 8, 8).to_sparse(), "sparse_coo"),
    ],
    ids=["meta", "sparse"],
)
def test_a_tensor_without_samples_is_one_sentence(tensor, kind):
    with pytest.raises(ImageError, match=f"A {kind} tensor holds no samples .* dense"):
        decode(tensor)


@pytest.mark.parametrize("upright", [True, False])
def test_a_truncated_file_that_pillow_opened_lazily_is_a_sentence(upright):
    with pytest.raises(ImageError, match="The PIL image is truncated or damaged"):
        decode(Image.open(io.BytesIO(truncated_jpeg())), upright=upright)


def test_and_so_it_is_for_its_regions(make):
    with pytest.raises(ImageError, match="The PIL image is truncated or damaged"):
        make().regions(Image.open(io.BytesIO(truncated_jpeg())), [(0, 0, 8, 8)])


@pytest.mark.parametrize(
    "error",
    [
        *(RuntimeError, NotImplementedError, TypeError, KeyError),
        *(AttributeError, ZeroDivisionError, OverflowError, AssertionError),
    ],
)
def test_whatever_pillow_makes_of_a_damaged_file_is_a_sentence(photo, monkeypatch, error):
    def fail(_):
        raise error("Failed to decode frame 0")

    data = encoded(photo, "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_end", fail)
    with pytest.raises(ImageError, match=r"truncated or damaged .*Failed to decode frame 0"):
        decode(data)
    with pytest.raises(ImageError, match=r"truncated or damaged .*Failed to decode frame 0"):
        decode(Image.open(io.BytesIO(data)))


def test_a_spider_file_that_says_it_is_one_of_a_stack_is_a_sentence():
    data = bytearray(encoded(Image.new("F", (30, 20), 99), "SPIDER"))
    data[104:108] = np.float32(1).tobytes()  # which one; Pillow fails with an AttributeError
    with pytest.raises(ImageError, match="truncated or damaged"):
        decode(bytes(data))


def test_a_disk_that_fails_is_not_taken_for_a_damaged_file():
    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() >= 2**16:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    with pytest.raises(OSError, match="Input/output error") as caught:
        open_picture(Failing(encoded(Image.fromarray(noise), "PNG")))
    assert caught.value.errno == errno.EIO


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_names_and_lists_that_are_no_pictures_are_one_sentence(make):
    with pytest.raises(ImageError, match="not the name of a file"):
        decode("a\0b")
    with pytest.raises(ImageError, match="Picture 0 of the list: A list is not a picture") as error:
        make()([[np.zeros((2, 2), np.uint8)]])
    assert "or a list" not in str(error.value)


def test_a_decompression_bomb_is_refused(photo, monkeypatch):
    data = encoded(photo, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(
        ImageError, match=r"large once decoded .*\w\); .* raise PIL.Image.MAX_IMAGE_PIXELS"
    ):
        decode(data)
