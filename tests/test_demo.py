"""The demo leaves a picture and a log that say what was read and found, where, and how rightly."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("skimage", reason="the demo's photograph comes with scikit-image")
pytest.importorskip("easyocr_en_models", reason="the offline EasyOCR models")
pytest.importorskip("easyocr")
pytest.importorskip("facenet_pytorch")

import typer
from typer.testing import CliRunner

from examples import demo, scene, sheet
from integrations.protocols import Faces, Word
from preproc import Enhancer
from preproc.degrade import bicubic_down, bicubic_up, jpeg
from preproc.errors import OutputError


@pytest.fixture(scope="module")
def original():
    return scene.original()


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(demo.main)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_scene_is_the_same_every_time_and_a_quarter_remains(original):
    np.testing.assert_array_equal(scene.original(), original)
    assert original.shape == (512, 960, 3)
    poor = scene.degraded(original)
    assert poor.shape == (128, 240, 3)
    np.testing.assert_array_equal(poor, jpeg(bicubic_down(original, 4), 40))
    assert len(scene.words()) == 19


def test_picture_and_log_with_boxes_in_source_pixels(original, tmp_path):
    source = scene.degraded(original)
    pictures = demo.arms_of(source, bicubic_up(source, 2), 2)
    out = tmp_path / "folder" / "demo.png"
    log = demo.run(source, pictures, scene.words(), "A caption.", out)

    with Image.open(out) as drawn:
        assert drawn.width > 2 * sheet.PANEL[0]
        assert len(drawn.getcolors(maxcolors=2**24)) > 1000
    assert out.with_suffix(".txt").read_text(encoding="utf-8") == log
    arms = re.findall(r"^(\w+): (\d+) of 19 words right, 1 face", log, re.MULTILINE)
    assert [name for name, _ in arms] == ["input", "bicubic", "enhanced"]
    assert arms[1][1] == arms[2][1]  # the same picture in both
    for line in re.findall(r"^  text +(.*)$", log, re.MULTILINE):
        x1, y1, x2, y2 = (float(v) for v in line.split()[:4])
        assert 110 <= x1 < x2 <= 240  # on the board
        assert 0 <= y1 < y2 <= 128
    faces = [line.split() for line in re.findall(r"^  face +(.*)$", log, re.MULTILINE)]
    assert len(faces) == 3
    for face in faces:
        np.testing.assert_allclose([float(v) for v in face[:4]], [45, 17, 66, 43], atol=3)
    assert "SPACE MUSEUM" in log


@pytest.mark.parametrize("own", [False, True], ids=["scene", "own picture"])
def test_the_engines_are_shown_what_the_options_say(
    own, command, original, tiny_weights, tmp_path, monkeypatch, rng
):
    shown = []
    monkeypatch.setattr(demo, "run", lambda *args: shown.append(args) or "")
    picture = rng.integers(0, 256, (12, 20, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "mine.png")
    options = ["--image", tmp_path / "mine.png"] if own else []
    options += [] if own else ["--strength", 0.25]
    strength = 0.5 if own else 0.25
    done = command(
        *options, "--model", "tiny", "--weights", tiny_weights, "--out", tmp_path / "out.png"
    )
    assert done.exit_code == 0, done.output
    ((source, pictures, known, caption, out),) = shown
    np.testing.assert_array_equal(source, picture if own else scene.degraded(original))
    enhanced = Enhancer("tiny", weights=tiny_weights, strength=strength)(source)
    wanted = {"input": source, "bicubic": bicubic_up(source, 4), "enhanced": enhanced}
    wanted |= {} if own else {"original": original}
    assert list(pictures) == list(wanted)
    for name, its in pictures.items():
        np.testing.assert_array_equal(its.picture, wanted[name])
    assert known == ([] if own else scene.words())
    assert f"tiny x4 at strength {strength}" in caption
    assert ("Photograph: NASA" in caption) == (not own)
    assert out == tmp_path / "out.png"


def test_the_original_has_the_scale_of_its_reduction(original):
    source = scene.degraded(original)
    arms = demo.arms_of(source, bicubic_up(source, 2), 2, original)
    scales = {"input": 1, "bicubic": 2, "enhanced": 2, "original": 4}
    assert {name: arm.scale for name, arm in arms.items()} == scales


def test_boxes_and_points_are_drawn_where_they_are_and_texts_in_their_colour():
    words = [
        Word([[10, 20], [60, 20], [60, 40], [10, 40]], "right", 0.9),
        Word([[150, 100], [200, 100], [200, 120], [150, 120]], "wrong", 0.9),
    ]
    faces = Faces(
        np.array([[100, 50, 120, 80]], np.float32), np.ones(1), np.full((1, 5, 2), [110.0, 60.0])
    )
    panel = sheet.Panel("title", np.full((64, 120, 3), 99, np.uint8), words, faces)
    picture = np.asarray(sheet.draw([panel], (240, 128), "caption", lambda text: text == "right"))
    top, left = sheet._MARGIN + sheet._TITLE, sheet._MARGIN
    picture = picture[top : top + 4 * 128, left : left + 4 * 240]  # what is drawn four times larger
    ends = {"#7fe07f": (60, 40), "#ff9a7a": (200, 120), "#ffd23f": (120, 80)}
    for colour, end in ends.items():
        level = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        rows, columns = np.nonzero((picture == level).all(-1))
        assert (columns.max(), rows.max()) == pytest.approx([4 * side for side in end], abs=2)
    assert (picture[4 * 60, 4 * 110] == level).all(), "a point of the face"


def sheet_of(*pictures):
    """A sheet of pictures of 24x16 source px, in which nothing was read or found."""
    nothing = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    panels = [sheet.Panel("", picture, [], nothing) for picture in pictures]
    return sheet.draw(panels, (24, 16), "", lambda _: None)


def test_pictures_are_laid_out_row_by_row():
    levels = (50, 100, 150)
    drawn = np.asarray(sheet_of(*(np.full((16, 24, 3), level, np.uint8) for level in levels)))
    places = [np.argwhere((drawn == level).all(-1)).min(0).tolist() for level in levels]
    (top, left), (beside, right), (below, first) = places
    assert top == beside < below
    assert first == left < right


def test_px_of_small_pictures_are_shown_and_those_of_large_ones_are_mixed():
    stripes = np.tile(np.array([[[50], [200]]], np.uint8), (16, 12, 3))
    small, large = (
        {colour for _, colour in sheet_of(picture).getcolors()}
        for picture in (stripes, np.tile(stripes, (80, 80, 1)))
    )
    levels = {(50, 50, 50), (200, 200, 200)}
    assert levels < small
    assert len(small) == 3, "with the ground"
    assert not levels & large


def test_a_sheet_says_how_many_words_it_has_no_room_for(monkeypatch):
    written = {}
    text = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, line, *how, **more: (
            written.update({line: place}) or text(self, place, line, *how, **more)
        ),
    )
    words = [Word([[0, 0], [9, 0], [9, 9], [0, 9]], f"w{k}", 0.5) for k in range(15)]
    nothing = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    panel = sheet.Panel("title", np.zeros((20, 20, 3), np.uint8), words, nothing)
    sheet.draw([panel], (20, 20), "caption", lambda _: None)
    listed = [line for line in written if "(0.50)" in line]
    assert listed == [f"{k + 1}  w{k}  (0.50)" for k in range(11)]
    assert "... and 4 more" in written
    places = {written[line] for line in listed}
    assert len(places) == len(listed)
    assert max(left for left, _ in places) < sheet.PANEL[0]


def test_a_text_is_right_if_all_its_words_are_known():
    known = ["WAY", "out"]
    texts = {"Way out": True, "way": True, "way in": False, "&": False}
    assert {text: demo._is_right(text, known) for text in texts} == texts


def test_words_are_counted_once_each_and_case_aside():
    read = [Word([], "Main main entrance,", 1.0), Word([], "entrnce", 1.0)]
    assert demo.words_right(read, ["Main", "Entrance", "Exit"]) == 2


@pytest.mark.parametrize(
    ("words", "said"), [(0, "0 pieces of text"), (1, "1 piece of text"), (2, "2 pieces of text")]
)
def test_no_face_is_said_so_and_pieces_of_text_are_counted(words, said):
    nothing = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    read = [Word([], "Exit", 1.0)] * words
    arm = demo.Arm("input", np.zeros((4, 4, 3), np.uint8), read, nothing)
    assert demo.summary(arm, []) == f"{said}, no faces"


@pytest.fixture
def idle(monkeypatch):
    """Neither network nor engines may be begun with."""

    def begun(*_, **__):
        raise AssertionError("the work was begun")

    monkeypatch.setattr(demo, "Enhancer", begun)
    monkeypatch.setattr(demo, "examine", begun)


def test_a_text_beside_a_picture_of_the_user_s_is_not_replaced(command, idle, tmp_path):
    (tmp_path / "label.txt").write_text("WAY OUT\n")
    done = command("--out", tmp_path / "label.png")
    assert done.exit_code == 1
    assert "label.txt is there already" in done.stderr
    assert (tmp_path / "label.txt").read_text() == "WAY OUT\n"


def test_a_picture_that_no_demo_made_is_not_replaced(command, idle, tmp_path):
    path = tmp_path / "holiday.png"
    Image.new("RGB", (20, 20)).save(path)
    before = path.read_bytes()
    done = command("--out", path)
    assert done.exit_code == 1
    assert "holiday.png is there already" in done.stderr
    assert path.read_bytes() == before


def test_what_a_demo_left_where_it_goes_by_itself_is_replaced(original, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = scene.degraded(original)[:, :16]
    nothing = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    arms = [demo.Arm("input", source, [Word([[0, 0], [9, 9]], "exit", 0.5)], nothing)]
    monkeypatch.setattr(demo, "examine", lambda *_: arms)
    for known in (scene.words(), [], scene.words()):
        demo.require_free(demo.OUT)
        text = demo.run(source, {}, known, "", demo.OUT)
        assert (tmp_path / "out" / "demo.txt").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("out", ["mine.png", "folder/../mine.png", "link.png"])
def test_the_picture_itself_is_not_replaced(command, idle, tmp_path, out):
    (tmp_path / "folder").mkdir()
    path = tmp_path / "mine.png"
    Image.new("RGB", (20, 20)).save(path)
    (tmp_path / "link.png").symlink_to(path)
    before = path.read_bytes()
    done = command("--image", path, "--out", tmp_path / out)
    assert done.exit_code == 1
    assert "is there already" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("demo.xyz", "cannot be written as '.xyz'"),
        ("file.txt/demo.png", "Cannot write"),
        ("folder.png", "is there already"),
        ("n" * 300 + ".png", "File name too long"),
    ],
)
def test_where_no_picture_can_be_left_is_said_before_the_work(command, idle, tmp_path, out, words):
    (tmp_path / "file.txt").touch()
    (tmp_path / "folder.png").mkdir()
    done = command("--out", tmp_path / out)
    assert done.exit_code == 1
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_report_that_cannot_be_written_is_one_sentence(monkeypatch, original, tmp_path):
    (tmp_path / "demo.txt").mkdir()
    monkeypatch.setattr(demo, "examine", lambda *_: [])
    monkeypatch.setattr(sheet, "draw", lambda *_: Image.new("RGB", (4, 4)))
    with pytest.raises(OutputError, match=r"Cannot write .*demo\.txt"):
        demo.run(original, {}, [], "", tmp_path / "demo.png")


@pytest.mark.parametrize("content", [b"no picture", None], ids=["no picture", "no file"])
def test_a_bad_picture_is_one_sentence(command, tmp_path, content):
    path = tmp_path / "mine.jpg"
    if content:
        path.write_bytes(content)
    done = command("--image", path, "--out", tmp_path / "demo.png")
    assert done.exit_code == 1
    assert "mine.jpg" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "demo.png").exists()


def test_a_picture_too_large_to_enlarge_is_one_sentence(command, tmp_path):
    path = tmp_path / "mine.png"
    Image.new("RGB", (1000, 1001)).save(path)
    done = command("--image", path)
    assert done.exit_code == 1
    assert "1000x1001 px" in done.stderr
