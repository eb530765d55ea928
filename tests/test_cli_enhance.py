"""`preproc enhance` as a user meets it: what it prints, what it exits with, what it leaves."""

from __future__ import annotations

import signal
import sys
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.core
from command_line import call, pictures
from picture_files import files
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rich.progress import Progress

from preproc.batch import run as batch
from preproc.cli import enhance_command
from preproc.errors import ModelError
from preproc.pictures import formats, heif


class FakeEnhancer:
    """Doubles pictures, and remembers how it was made."""

    made: list[dict[str, object]]
    scale, descriptor, device, dtype = 2, "cajnn-light x4", "cpu", "float32"

    def __init__(self, model: str = "cajnn", **options: object) -> None:
        if model == "nosuch":
            raise ModelError("There is no model 'nosuch'; known are cajnn.")
        self.made.append({"model": model, **options})

    def __call__(
        self, image: Image.Image, progress: Callable[[int, int], None] | None = None
    ) -> Image.Image:
        if progress is not None:
            progress(1, 2)
        return image.resize((2 * image.width, 2 * image.height))


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Options of the enhancers made in the test, none of which needs torch."""
    FakeEnhancer.made = []
    module = types.ModuleType("preproc.enhancer")
    module.Enhancer = FakeEnhancer
    monkeypatch.setitem(sys.modules, "preproc.enhancer", module)
    return FakeEnhancer.made


def noise(path: Path) -> Path:
    """A picture that is larger as a file the less is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((64, 48), 60).save(path)
    return path


def words(box: str) -> str:
    """What a box of the terminal says, in one line."""
    return " ".join(box.replace("\u2502", " ").split())


def test_a_folder(
    tmp_path: Path, made: list[dict[str, object]], capfd: pytest.CaptureFixture[str]
) -> None:
    source = pictures(tmp_path / "in", "a.png", "sub/b.jpg")
    terminates = signal.getsignal(signal.SIGTERM)
    assert call("enhance", source, "-o", tmp_path / "out") == 0
    assert signal.getsignal(signal.SIGTERM) == terminates
    assert files(tmp_path / "out") == ["a.png", "sub/b.jpg"]
    assert Image.open(tmp_path / "out/a.png").size == (12, 8)
    out, err = capfd.readouterr()
    assert out == ""
    begun, ended = err.splitlines()
    assert begun == "Enhancing 2 with cajnn-light x4 on cpu (float32)."
    assert ended.startswith("2 enhanced, in ")
    left_to_it = ["scale", "weights", "device", "dtype", "tile", "overlap", "map_folder"]
    off = dict.fromkeys(("to_input_size", "self_ensemble", "compiled"), False)
    assert made == [{"model": "cajnn-light", "strength": 1, **dict.fromkeys(left_to_it), **off}]


@pytest.mark.parametrize("name", ["v1.3", "b.png", "new"])
def test_a_name_with_a_slash_at_its_end_is_a_folder_s(tmp_path: Path, name: str) -> None:
    source = pictures(tmp_path, "a.jpg") / "a.jpg"
    assert call("enhance", source, "-o", f"{tmp_path / name}/") == 0
    assert files(tmp_path / name) == ["a.jpg"]


def test_options_reach_the_enhancer(tmp_path: Path, made: list[dict[str, object]]) -> None:
    source = pictures(tmp_path, "a.png") / "a.png"
    options = "--model cajnn-light --scale 4 --to-input-size --weights w.safetensors "
    options += "--device cpu --dtype float32 --tile 96 --overlap 8 --strength 0.5 "
    options += "--self-ensemble --map-folder maps --compile"
    assert call("enhance", source, "-o", tmp_path / "out", *options.split()) == 0
    assert made == [
        {
            "model": "cajnn-light",
            "scale": 4,
            "to_input_size": True,
            "weights": Path("w.safetensors"),
            "device": "cpu",
            "dtype": "float32",
            "tile": 96,
            "overlap": 8,
            "strength": 0.5,
            "self_ensemble": True,
            "map_folder": Path("maps"),
            "compiled": True,
        }
    ]


def test_folders_of_a_pattern_are_kept_where_shells_expand_none_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "in", "a/1.png", "b/1.png")
    windows = types.SimpleNamespace(**{**vars(typer.core.os), "name": "nt"})
    monkeypatch.setattr(typer.core, "os", windows)
    code = call("enhance", tmp_path / "in" / "**" / "*.png", "-o", tmp_path / "out")
    assert code == 0
    assert files(tmp_path / "out") == ["a/1.png", "b/1.png"]


@pytest.mark.parametrize("folder", ["~/out", "--output=~/out"])
def test_the_home_folder_is_found_where_no_shell_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    pictures(tmp_path / "home/in", "a.png", "b.png")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    output = ["-o", folder] if folder.startswith("~") else [folder]
    assert call("enhance", "~/in/*.png", *output) == 0
    assert files(tmp_path / "home/out") == ["a.png", "b.png"]
    assert not (tmp_path / "~").exists()


def test_format_quality_and_suffix(tmp_path: Path) -> None:
    source = noise(tmp_path / "in/a.png")
    for quality in (10, 95):
        options = ["--format", "webp", "--quality", quality, "--suffix", f"_{quality}"]
        assert call("enhance", source, "-o", tmp_path / "out", *options) == 0
    assert files(tmp_path / "out") == ["a_10.webp", "a_95.webp"]
    rough, fine = (tmp_path / "out" / name for name in files(tmp_path / "out"))
    assert 3 * rough.stat().st_size < fine.stat().st_size


def test_every_writable_format_can_be_asked_for() -> None:
    assert [f.value for f in enhance_command.Format] == formats.format_names()


def test_as_many_are_read_and_written_at_once_as_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def three_at_once(work: Callable[..., object]) -> Callable[..., object]:
        barrier = threading.Barrier(3, timeout=20)

        def wait(*args: object, **options: object) -> object:
            barrier.wait()
            return work(*args, **options)

        return wait

    monkeypatch.setattr(batch, "load", three_at_once(batch.load))
    monkeypatch.setattr(batch, "save", three_at_once(batch.save))
    source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
    assert call("enhance", source, "-o", tmp_path / "out", "--workers", 3) == 0


def test_a_quality_counts_for_those_results_that_take_one(tmp_path: Path) -> None:
    source = noise(tmp_path / "in/a.png").parent
    noise(source / "b.jpg")
    for out, options in (("rough", ["-q", 10]), ("usual", [])):
        assert call("enhance", source, "-o", tmp_path / out, *options) == 0
        assert files(tmp_path / out) == ["a.png", "b.jpg"]
    png, jpeg = (
        [(tmp_path / out / name).stat().st_size for out in ("rough", "usual")]
        for name in ("a.png", "b.jpg")
    )
    assert png[0] == png[1]
    assert 3 * jpeg[0] < jpeg[1]


def test_a_run_goes_on_with_the_quality_it_began_with(tmp_path: Path) -> None:
    source = noise(tmp_path / "in/a.jpg").parent
    assert call("enhance", source, "-o", tmp_path / "out", "-q", 10) == 0
    noise(source / "b.png")
    assert call("enhance", source, "-o", tmp_path / "out", "-q", 10, "--skip-existing") == 0
    assert files(tmp_path / "out") == ["a.jpg", "b.png"]


def test_a_second_run_refuses_then_resumes_without_loading_the_model(
    tmp_path: Path,
    made: list[dict[str, object]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    source = pictures(tmp_path / "in", "a.png")
    assert call("enhance", source, "-o", tmp_path / "out") == 0
    written = (tmp_path / "out/a.png").stat().st_mtime_ns
    assert call("enhance", source, "-o", tmp_path / "out") == 1
    assert "exists already; pass --skip-existing" in capfd.readouterr().err
    assert call("enhance", source, "-o", tmp_path / "out", "--skip-existing") == 0
    assert "0 enhanced, 1 skipped" in capfd.readouterr().err
    assert len(made) == 1
    assert (tmp_path / "out/a.png").stat().st_mtime_ns == written
    assert call("enhance", source, "-o", tmp_path / "out", "--overwrite") == 0
    assert (tmp_path / "out/a.png").stat().st_mtime_ns != written


def test_a_result_that_another_run_has_left_meanwhile_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out" / "a.png"

    def meanwhile(self: FakeEnhancer, image: Image.Image, **_: object) -> Image.Image:
        image.save(target)
        return image

    monkeypatch.setattr(FakeEnhancer, "__call__", meanwhile)
    source = pictures(tmp_path / "in", "a.png")
    assert call("enhance", source, "-o", target.parent, "--skip-existing") == 0
    assert "0 enhanced, 1 skipped" in capfd.readouterr().err


@pytest.mark.parametrize(("filters", "notes"), [([], 2), (["ignore"], 0)])
def test_warnings_become_notes_unless_python_was_told_otherwise(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    filters: list[str],
    notes: int,
) -> None:
    def warn(self: FakeEnhancer, image: Image.Image, **_: object) -> Image.Image:
        warnings.warn("[half] precision overflowed", stacklevel=1)
        return image

    monkeypatch.setattr(FakeEnhancer, "__call__", warn)
    monkeypatch.setattr(sys, "warnoptions", filters)
    source = pictures(tmp_path / "in", "a.png", "b.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert call("enhance", source, "-o", tmp_path / "out") == 0
    told = [line for line in capfd.readouterr().err.splitlines() if "overflowed" in line]
    files = [source / name for name in ("a.png", "b.png")][:notes]
    assert told == [f"Note {file}: [half] precision overflowed" for file in files]


def test_notes_say_which_pictures_they_are_about(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    xmp = PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", " " * 70000)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (6, 4)).save(source / name, pnginfo=xmp)
    (source / "c.ppm").write_bytes(b"P6\n2 1\n1023\n" + bytes(12))
    assert call("enhance", source, "-o", tmp_path / "out", "-f", "jpg") == 0
    notes = sorted(line for line in capfd.readouterr().err.splitlines() if "Note" in line)
    assert [note.split(":")[0] for note in notes] == [
        f"Note {source / name}" for name in ("a.png", "b.png", "c.ppm")
    ]
    assert notes[1].endswith("XMP is left out: JPEG holds 65504 bytes; write PNG to keep it.")
    assert notes[2].endswith("its result has 8; only from PNG to PNG are they kept.")


def test_pictures_that_pillow_cannot_open_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(heif, "plug_in", lambda: False)
    Image.init()
    monkeypatch.delitem(Image.EXTENSION, ".heic", raising=False)
    source = pictures(tmp_path / "in", "a.png")
    for name in ("b.heic", "c.HEIC", "d.nef", "notes.txt", ".hidden.heic"):
        (source / name).write_bytes(b"?")
    assert call("enhance", source, "-o", tmp_path / "out") == 0
    _, enhanced, left = capfd.readouterr().err.splitlines()
    assert enhanced.startswith("1 enhanced, in ")
    assert left.startswith("3 files were left out: Pillow cannot open .heic, .nef; convert ")
    assert left.endswith("for HEIC, pip install pillow-heif.")


def test_an_unknown_model_is_one_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = pictures(tmp_path / "in", "a.png")
    assert call("enhance", source, "-o", tmp_path / "out", "-m", "nosuch") == 1
    assert capfd.readouterr().err == "Error: There is no model 'nosuch'; known are cajnn.\n"
    assert not (tmp_path / "out").exists()


def test_the_bar_goes_on_from_picture_to_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[float] = []
    monkeypatch.setattr(Progress, "update", lambda *_, completed: shown.append(completed))
    source = pictures(tmp_path / "in", "a.png", "b.png", "d.png")
    (source / "c.png").write_bytes(b"no picture at all")
    assert call("enhance", source, "-o", tmp_path / "out") == 1
    assert shown == [0.5, 1.5, 3, 3.5, 4, 4, 4]


@pytest.mark.parametrize(
    ("name", "sentence"), [("", "A path is empty"), ("-", "Pipes are neither read nor written")]
)
def test_a_name_of_nothing_and_a_pipe_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    sentence: str,
) -> None:
    pictures(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    for paths, output in (([name], "out"), (["a.png", name], "out"), (["a.png"], name)):
        assert call("enhance", *paths, "-o", output, "--suffix", "_x2") == 2
        assert sentence in words(capfd.readouterr().err)
        assert files(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    ("sources", "output", "lossless"),
    [(["a.jpg"], "q.png", "PNG"), (["b.png", "c.bmp"], "out", "BMP, PNG")],
)
def test_a_quality_that_no_result_takes_is_refused(
    tmp_path: Path,
    made: list[dict[str, object]],
    capfd: pytest.CaptureFixture[str],
    sources: list[str],
    output: str,
    lossless: str,
) -> None:
    pictures(tmp_path, *sources)
    paths = [tmp_path / name for name in sources]
    assert call("enhance", *paths, "-o", tmp_path / output, "-q", 10) == 2
    assert f"--quality means nothing for {lossless}:" in words(capfd.readouterr().err)
    assert made == []
    assert not (tmp_path / output).exists()


def test_a_name_in_no_format_makes_no_folder(
    tmp_path: Path, made: list[dict[str, object]], capfd: pytest.CaptureFixture[str]
) -> None:
    source = pictures(tmp_path / "in", "a.jpg") / "a.jpg"
    assert call("enhance", source, "-o", tmp_path / "res.jgp") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "results cannot be written as .jgp; end it in one of .png, .jpg," in line
    assert made == []
    assert not (tmp_path / "res.jgp").exists()


def test_a_result_too_large_for_its_format_is_refused_before_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def work(*_: object) -> None:
        pytest.fail("the picture was enhanced in vain")

    monkeypatch.setattr(FakeEnhancer, "__call__", work)
    Image.new("RGB", (8192, 1)).save(tmp_path / "a.webp")
    assert call("enhance", tmp_path / "a.webp", "-o", tmp_path / "out") == 1
    assert "WEBP holds at most 16383 px a side, but the result has 16384x2; write it as" in (
        capfd.readouterr().err
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--quality", "0"],
        ["--quality", "101"],
        ["--format", "png", "--quality", "80"],
        ["--format", "gif"],
        ["--dtype", "int8"],
        ["--scale", "0"],
        ["--workers", "0"],
        ["--suffix", "../x"],
        ["--overwrite", "--skip-existing"],
        ["--nonsense"],
    ],
)
def test_usage_errors_exit_with_2_and_touch_nothing(
    tmp_path: Path, options: list[str], made: list[dict[str, object]]
) -> None:
    source = pictures(tmp_path / "in", "a.png")
    assert call("enhance", source, "-o", tmp_path / "out", *options) == 2
    assert made == []
    assert not (tmp_path / "out").exists()
