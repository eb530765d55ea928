"""The command line as a user meets it: what it prints, what it exits with, what it leaves."""

from __future__ import annotations

import ast
import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import typer.core
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from preproc import __version__, batch, cli
from preproc.cli import enhance_command
from preproc.errors import ModelError
from preproc.pictures import formats, heif, saving

ROOT = Path(__file__).parents[1]


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
    monkeypatch.setenv("TERM", "dumb")
    return FakeEnhancer.made


def call(*args: object, monkeypatch: pytest.MonkeyPatch | None = None) -> int:
    """Run ``preproc ARGS`` in this process; its exit code."""
    before, sys.argv = sys.argv, ["preproc", *map(str, args)]
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (6, 4), "red").save(folder / name)
    return folder


def noise(path: Path) -> Path:
    """A picture that is larger as a file the less is lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((64, 48), 60).save(path)
    return path


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def words(box: str) -> str:
    """What a box of the terminal says, in one line."""
    return " ".join(box.replace("\u2502", " ").split())


def python(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def keyword_only(file: str, function: str) -> set[str]:
    """Keyword-only parameters of a function, read without importing what its module needs."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    (found,) = (n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    return {argument.arg for argument in found.args.kwonlyargs}


class TestEnhance:
    def test_folders_of_a_pattern_are_kept_where_shells_expand_none_too(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures(tmp_path / "in", "a/1.png", "b/1.png")
        windows = types.SimpleNamespace(**{**vars(typer.core.os), "name": "nt"})
        monkeypatch.setattr(typer.core, "os", windows)
        code = call("enhance", tmp_path / "in" / "**" / "*.png", "-o", tmp_path / "out")
        assert code == 0
        assert files(tmp_path / "out") == ["a/1.png", "b/1.png"]

    def test_a_folder(
        self, tmp_path: Path, made: list[dict[str, object]], capfd: pytest.CaptureFixture[str]
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

    def test_options_reach_the_enhancer(
        self, tmp_path: Path, made: list[dict[str, object]]
    ) -> None:
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

    @pytest.mark.parametrize("folder", ["~/out", "--output=~/out"])
    def test_the_home_folder_is_found_where_no_shell_puts_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
    ) -> None:
        pictures(tmp_path / "home/in", "a.png", "b.png")
        for variable in ("HOME", "USERPROFILE"):
            monkeypatch.setenv(variable, str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        output = ["-o", folder] if folder.startswith("~") else [folder]
        assert call("enhance", "~/in/*.png", *output) == 0
        assert files(tmp_path / "home/out") == ["a.png", "b.png"]
        assert not (tmp_path / "~").exists()

    @pytest.mark.parametrize(
        ("name", "sentence"), [("", "A path is empty"), ("-", "Pipes are neither read nor written")]
    )
    def test_a_name_of_nothing_and_a_pipe_are_refused(
        self,
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

    def test_format_quality_and_suffix(self, tmp_path: Path) -> None:
        source = noise(tmp_path / "in/a.png")
        for quality in (10, 95):
            options = ["--format", "webp", "--quality", quality, "--suffix", f"_{quality}"]
            assert call("enhance", source, "-o", tmp_path / "out", *options) == 0
        assert files(tmp_path / "out") == ["a_10.webp", "a_95.webp"]
        rough, fine = (tmp_path / "out" / name for name in files(tmp_path / "out"))
        assert 3 * rough.stat().st_size < fine.stat().st_size

    def test_as_many_are_read_and_written_at_once_as_asked_for(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def three_at_once(work: Callable[..., object]) -> Callable[..., object]:
            barrier = threading.Barrier(3, timeout=20)

            def wait(*args: object, **options: object) -> object:
                barrier.wait()
                return work(*args, **options)

            return wait

        monkeypatch.setattr(batch, "load", three_at_once(batch.load))
        monkeypatch.setattr(saving, "save", three_at_once(saving.save))
        source = pictures(tmp_path / "in", "a.png", "b.png", "c.png")
        assert call("enhance", source, "-o", tmp_path / "out", "--workers", 3) == 0

    def test_every_writable_format_can_be_asked_for(self) -> None:
        assert [f.value for f in enhance_command.Format] == formats.format_names()

    def test_an_unknown_model_is_one_sentence(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        source = pictures(tmp_path / "in", "a.png")
        assert call("enhance", source, "-o", tmp_path / "out", "-m", "nosuch") == 1
        assert capfd.readouterr().err == "Error: There is no model 'nosuch'; known are cajnn.\n"
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("sources", "output", "lossless"),
        [(["a.jpg"], "q.png", "PNG"), (["b.png", "c.bmp"], "out", "BMP, PNG")],
    )
    def test_a_quality_that_no_result_takes_is_refused(
        self,
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

    def test_a_quality_counts_for_those_results_that_take_one(self, tmp_path: Path) -> None:
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

    def test_a_run_goes_on_with_the_quality_it_began_with(self, tmp_path: Path) -> None:
        source = noise(tmp_path / "in/a.jpg").parent
        assert call("enhance", source, "-o", tmp_path / "out", "-q", 10) == 0
        noise(source / "b.png")
        assert call("enhance", source, "-o", tmp_path / "out", "-q", 10, "--skip-existing") == 0
        assert files(tmp_path / "out") == ["a.jpg", "b.png"]

    def test_a_name_in_no_format_makes_no_folder(
        self, tmp_path: Path, made: list[dict[str, object]], capfd: pytest.CaptureFixture[str]
    ) -> None:
        source = pictures(tmp_path / "in", "a.jpg") / "a.jpg"
        assert call("enhance", source, "-o", tmp_path / "res.jgp") == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert "results cannot be written as .jgp; end it in one of .png, .jpg," in line
        assert made == []
        assert not (tmp_path / "res.jgp").exists()

    def test_pictures_that_pillow_cannot_open_are_counted(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
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

    def test_a_result_too_large_for_its_format_is_refused_before_the_work(
        self,
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
        self, tmp_path: Path, options: list[str], made: list[dict[str, object]]
    ) -> None:
        source = pictures(tmp_path / "in", "a.png")
        assert call("enhance", source, "-o", tmp_path / "out", *options) == 2
        assert made == []
        assert not (tmp_path / "out").exists()

    def test_a_second_run_refuses_then_resumes_without_loading_the_model(
        self,
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

    def test_warnings_become_notes(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def warn(self: FakeEnhancer, image: Image.Image, **_: object) -> Image.Image:
            import warnings

            warnings.warn("[half] precision overflowed", stacklevel=1)
            return image

        monkeypatch.setattr(FakeEnhancer, "__call__", warn)
        source = pictures(tmp_path / "in", "a.png", "b.png")
        assert call("enhance", source, "-o", tmp_path / "out") == 0
        assert capfd.readouterr().err.count("Note [half] precision overflowed\n") == 1

    def test_notes_say_which_pictures_they_are_about(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
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

    @pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
    @pytest.mark.parametrize(
        ("number", "options", "way_on"),
        [
            (signal.SIGINT, [], "run the same command again with --skip-existing for the rest."),
            (signal.SIGTERM, ["--overwrite"], "run the same command again for the rest."),
        ],
    )
    def test_an_interrupted_run_leaves_whole_files_and_says_how_to_go_on(
        self, tmp_path: Path, number: signal.Signals, options: list[str], way_on: str
    ) -> None:
        source = pictures(tmp_path / "in", *(f"{i:03}.png" for i in range(200)))
        slow = (
            "import signal, sys, time, types\n"
            # A shell that starts the tests in the background has SIGINT ignored for all below it.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from preproc import cli\n"
            "fake = types.ModuleType('preproc.enhancer')\n"
            "def enhance(image, progress):\n"
            "    time.sleep(0.2)\n"
            "    return image\n"
            "enhance.scale, enhance.descriptor, enhance.device, enhance.dtype = 1, '', '', ''\n"
            "fake.Enhancer = lambda *a, **k: enhance\n"
            "sys.modules['preproc.enhancer'] = fake\n"
            "cli.main()\n"
        )
        process = python(slow, "enhance", source, "-o", tmp_path / "out", *options)
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("*.png")):
            assert process.poll() is None, process.communicate()
            if time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"No picture was written within 60 s: {process.communicate()}")
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert way_on in err
        assert "Traceback" not in err
        done = files(tmp_path / "out")
        assert 0 < len(done) < 200
        assert all(name.endswith(".png") for name in done)
        for name in done:
            Image.open(tmp_path / "out" / name).load()


class TestWithANetwork:
    """The whole way, with a network that only repeats px."""

    @pytest.fixture(autouse=True)
    def weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        import torch
        from torch import nn

        from preproc.networks import ModelDescriptor, register
        from preproc.weights import save_state

        class Repeat(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.gain = nn.Parameter(torch.ones(1))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.gain * nn.functional.interpolate(x, scale_factor=2.0)

        monkeypatch.delitem(sys.modules, "preproc.enhancer")
        register(ModelDescriptor("cli-repeat", 2, Repeat, 1, 12), replace=True)
        save_state(tmp_path / "w.safetensors", Repeat().state_dict())
        return tmp_path / "w.safetensors"

    def test_every_kind_of_picture_comes_out_right(
        self, tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        import numpy as np

        source = tmp_path / "in"
        source.mkdir()
        rng = np.random.default_rng(0)
        color = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "A camera"
        inputs = {
            "rgb.png": color,
            "grey.png": color.convert("L"),
            "bilevel.tif": color.convert("1"),
            "alpha.png": Image.merge("RGBA", [*color.split(), color.getchannel(0)]),
            "deep.png": Image.fromarray(rng.integers(0, 65536, (5, 7), np.uint16)),
            "deep.tif": Image.fromarray(rng.integers(0, 65536, (5, 7), np.uint16)),
            "ink.tif": color.convert("CMYK"),
            "palette.gif": color.quantize(16),
        }
        for name, image in inputs.items():
            image.save(source / name)
        color.save(source / "turned.png", exif=exif, dpi=(300, 300))
        options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
        code = call("enhance", source, "-o", tmp_path / "out", "--dtype", "float32", *options)
        assert code == 0, capfd.readouterr().err
        for name, image in inputs.items():
            expected = image.convert("RGB") if name == "palette.gif" else image
            result = Image.open(tmp_path / "out" / name.replace("gif", "png"))
            assert result.mode == expected.mode, name
            assert result.size == (14, 10), name
            if name != "alpha.png":  # alpha is smoothed, not repeated
                repeated = np.asarray(expected).repeat(2, 0).repeat(2, 1).astype(int)
                assert np.abs(np.asarray(result).astype(int) - repeated).max() <= 1, name
        turned = Image.open(tmp_path / "out/turned.png")
        assert turned.size == (10, 14)
        assert dict(turned.getexif()) == {0x010F: "A camera"}
        assert tuple(map(round, turned.info["dpi"])) == (300, 300)
        straight = np.asarray(color.transpose(Image.Transpose.ROTATE_270))
        assert np.array_equal(np.asarray(turned)[::2, ::2], straight)

    def test_deep_photographs_of_every_orientation_come_out_upright(
        self, tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        import numpy as np

        from preproc.pictures import png16

        source, out = tmp_path / "in", tmp_path / "out"
        source.mkdir()
        values = np.random.default_rng(0).integers(0, 65536, (5, 7, 4), np.uint16)
        values[..., 3] = 40000
        kinds = {"rgb": values[..., :3], "grey_alpha": values[..., 2:]}
        to = Image.Transpose
        turns = [None, to.FLIP_LEFT_RIGHT, to.ROTATE_180, to.FLIP_TOP_BOTTOM]
        turns += [to.TRANSPOSE, to.ROTATE_270, to.TRANSVERSE, to.ROTATE_90]
        exif = Image.Exif()
        for kind, samples in kinds.items():
            for orientation in range(1, 9):
                exif[0x0112], exif[0x010F] = orientation, "A camera"
                file = source / f"{kind}_{orientation}.png"
                file.write_bytes(png16.write(samples, {"exif": exif}))
        options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
        code = call("enhance", source, "-o", out, "--dtype", "float32", *options)
        assert code == 0, capfd.readouterr().err
        for kind, samples in kinds.items():
            for orientation, turn in enumerate(turns, 1):
                data = (out / f"{kind}_{orientation}.png").read_bytes()
                planes = [Image.fromarray(plane) for plane in np.moveaxis(samples, -1, 0)]
                upright = [plane if turn is None else plane.transpose(turn) for plane in planes]
                assert np.array_equal(png16.read(data)[::2, ::2], np.dstack(upright)), orientation
                assert dict(Image.open(io.BytesIO(data)).getexif()) == {0x010F: "A camera"}

    def test_to_input_size(self, tmp_path: Path, weights: Path) -> None:
        source, out = tmp_path / "a.png", tmp_path / "out"
        Image.new("RGB", (7, 5), "red").save(source)
        options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
        assert call("enhance", source, "-o", out, "--to-input-size", *options) == 0
        assert Image.open(out / "a.png").size == (7, 5)

    def test_damaged_exif_costs_no_picture(self, tmp_path: Path, weights: Path) -> None:
        source = tmp_path / "a.jpg"
        Image.new("RGB", (6, 4)).save(source, exif=b"Exif\0\0garbage, no TIFF header")
        options = ["--model", "cli-repeat", "--weights", weights, "--device", "cpu"]
        assert call("enhance", source, "-o", tmp_path / "out", *options) == 0


class TestHelp:
    @pytest.mark.parametrize("command", ["", "enhance", "models", "train", "export", "eval"])
    def test_every_command_explains_itself_with_an_example(
        self, command: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert call(*command.split(), "--help") == 0
        assert f"preproc {command or 'enhance'} " in capfd.readouterr().out

    def test_help_and_version_are_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        for args in ([], ["-h"]):
            call(*args)
            assert "preproc models" in capfd.readouterr().out
        assert call("--version") == 0
        assert capfd.readouterr().out == f"preproc {__version__}\n"

    def test_train_lists_the_recipes_there_are(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert call("train", "--help") == 0
        assert {"cajnn-ocr,", "cisrnet-paper."} <= {*capfd.readouterr().out.split()}

    def test_help_and_bad_usage_import_neither_torch_nor_an_engine(self) -> None:
        code = (
            "import atexit, sys\n"
            "heavy = {'torch', 'numpy', 'lightning', 'easyocr', 'matplotlib', 'facenet_pytorch'}\n"
            "atexit.register(lambda: print('heavy:', sorted(heavy & set(sys.modules))))\n"
            "from preproc.cli import main\n"
            "main()\n"
        )
        for args in (["--help"], ["enhance", "--help"], ["--version"]):
            out, _ = python(code, *args).communicate(timeout=60)
            assert out.endswith("heavy: []\n")

    def test_planning_imports_no_torch(self, tmp_path: Path) -> None:
        code = (
            "import atexit, sys\n"
            "atexit.register(lambda: print('torch' in sys.modules))\n"
            "from preproc.cli import main\n"
            "main()\n"
        )
        process = python(code, "enhance", tmp_path / "missing.png", "-o", tmp_path / "out")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "False\n")
        assert "There is no such file or folder." in err


class TestModels:
    def test_lists_every_model(self, capfd: pytest.CaptureFixture[str]) -> None:
        from preproc.manifest import entries
        from preproc.networks import list_models

        assert call("models") == 0
        lines = [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]
        licences = {(entry.model, entry.scale): entry.licence for entry in entries().values()}
        for descriptor in list_models():
            (line,) = (x for x in lines if x.startswith(f"{descriptor.name} x{descriptor.scale} "))
            licence = licences.get((descriptor.family, descriptor.scale), "your own")
            shown = line.rpartition(f" {descriptor.tiling.value} ")[2]
            assert licence.startswith(shown or "?"), "what is long is folded"
        assert "cajnn x4 14.8 M 15.9 M tiles CC BY-SA 4.0" in lines

    def test_shows_one_model_and_its_card(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        from preproc import manifest

        entry = manifest.WeightsEntry(
            model="cajnn",
            scale=4,
            file="c.safetensors",
            sha256="0" * 64,
            bytes=1,
            parameters=1,
            recipe="r.toml",
            data=(manifest.DataSource("pictures", "CC0"),),
            steps=1234,
            train_time=1.0,
            results={},
            perceptual_loss=None,
            licence="CC-BY-4.0",
            card="c.md",
        )
        (tmp_path / "c.md").write_text("# The card of it")
        monkeypatch.setattr(manifest, "entries", lambda: {(entry.model, entry.scale): entry})
        monkeypatch.setattr(manifest, "shipped_folder", lambda: tmp_path)
        assert call("models", "cajnn") == 0
        shown = capfd.readouterr().out
        for fact in ("14,847,491", "1,234 steps", "pictures (CC0)", "CC-BY-4.0", "# The card"):
            assert fact in shown
        assert "15.9 M multiply-accumulates per input pixel" in shown
        assert " float32, " in shown
        assert call("models", "cajnn-light") == 0
        assert "none shipped; pass your own with --weights" in capfd.readouterr().out

    def test_shows_all_scales_of_a_model(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert call("models", "cisrnet-light") == 0
        lines = capfd.readouterr().out.splitlines()
        shown = [line for line in lines if line.startswith("cisrnet-light x")]
        assert shown == [f"cisrnet-light x{scale}" for scale in (2, 3, 4)]

    @pytest.mark.parametrize(
        ("count", "shown"),
        [(999, "999"), (999_499, "999 k"), (999_500, "1 M"), (16_800_000, "16.8 M")],
    )
    def test_counts_have_three_digits(self, count: int, shown: str) -> None:
        from preproc.cli import models_command

        assert models_command._with_prefix(count) == shown

    def test_a_part_of_a_network_has_the_card_of_the_whole(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert call("models", "cisrnet-light-coarse") == 0
        assert "cisrnet-light-x4.safetensors, trained for" in capfd.readouterr().out

    def test_an_unknown_one_is_a_sentence(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert call("models", "nosuch") == 1
        assert capfd.readouterr().err.startswith("Error: There is no model 'nosuch'; known are ")


class TestPassThrough:
    def fake(self, monkeypatch: pytest.MonkeyPatch, name: str, **functions: object) -> None:
        module = types.ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)

    def test_eval_hands_everything_after_the_task_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[list[str]] = []
        self.fake(monkeypatch, "eval_tasks.restoration", main=lambda args: seen.append(args) or 3)
        args = ["--help", "--quality", "10", "20", "-o", "x", "--", "y"]
        assert call("eval", "restoration", *args) == 3
        assert call("eval", "restoration") == 3
        assert seen == [args, []]

    def test_eval_says_what_to_install(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        missing = ModuleNotFoundError("No module named 'scipy'", name="scipy")
        self.fake(monkeypatch, "eval_tasks.wider", main=Mock(side_effect=missing))
        assert call("eval", "wider") == 1
        said = capfd.readouterr().err
        assert "`preproc eval wider` needs scipy, which is not installed: pip install" in said

    def test_eval_names_its_tasks(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert call("eval", "nosuch") == 2
        told = capfd.readouterr().err
        files = (Path(__file__).parents[1] / "eval_tasks").glob("*.py")
        scripts = [path.stem for path in files if "def main(" in path.read_text("utf-8")]
        assert "restoration" in scripts
        assert not [script for script in scripts if script not in told]

    def test_train_hands_its_options_on(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        seen: list[tuple[object, object]] = []

        def run(recipe: str, **options: object) -> Path:
            seen.append((recipe, options))
            return Path("runs/x")

        self.fake(monkeypatch, "preproc.training.train", run=run)
        options = "--data d --minutes 1.5 --init-from w.ckpt --resume --devices 2 --nodes 3"
        more = "--precision 32-true --compile --set a=1 --seed 7"
        assert call("train", "r.toml", "-o", "runs/x", *options.split(), *more.split()) == 0
        assert call("train", "light", "-o", "y") == 0
        assert capfd.readouterr().out == "Weights: runs/x\n" * 2
        chosen = {
            "output": Path("runs/x"),
            "data": Path("d"),
            "minutes": 1.5,
            "init_from": "w.ckpt",
            "resume": True,
            "devices": "2",
            "nodes": 3,
            "precision": "32-true",
            "compiled": True,
            "overrides": ["a=1", "seed=7"],
        }
        usual = {
            "output": Path("y"),
            "data": Path(),
            "minutes": None,
            "init_from": None,
            "resume": False,
            "devices": "auto",
            "nodes": 1,
            "precision": None,
            "compiled": False,
            "overrides": [],
        }
        assert seen == [("r.toml", chosen), ("light", usual)]
        assert set(usual) == keyword_only("preproc/training/train.py", "run")

    def test_export_hands_its_options_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[object, dict[str, object]]] = []

        def export(stages: list[Path], **options: object) -> Path:
            seen.append((stages, options))
            return Path("weights/x.safetensors")

        self.fake(monkeypatch, "eval_tasks.export", export=export)
        options = "--data d --recipe light --licence CC0-1.0"
        more = "--notes dark -o mine --quality 10 --quality 30 --force"
        assert call("export", "r/a", "r/b", *options.split(), *more.split()) == 0
        assert call("export", "r/a", *options.split()) == 0
        facts = {"data": Path("d"), "recipe": "light", "licence": "CC0-1.0"}
        chosen = {"notes": "dark", "folder": Path("mine"), "quality": [10, 30], "force": True}
        usual = {"notes": "", "folder": None, "quality": (), "force": False}
        assert seen == [
            ([Path("r/a"), Path("r/b")], facts | chosen),
            ([Path("r/a")], facts | usual),
        ]
        assert set(facts | usual) == keyword_only("eval_tasks/export.py", "export")

    def test_a_missing_library_is_named_with_its_extra(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def run(*_: object, **__: object) -> Path:
            raise ModuleNotFoundError("No module named 'lightning'", name="lightning.pytorch")

        self.fake(monkeypatch, "preproc.training.train", run=run)
        assert call("train", "r.toml", "-o", "x") == 1
        assert capfd.readouterr().err == (
            "Error: `preproc train` needs lightning, which is not installed: "
            'pip install ".[train]" in the checkout.\n'
        )


class TestFailures:
    def test_what_the_system_refuses_is_said_of_its_file(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        refused = PermissionError(errno.EACCES, "Permission denied", "cards/[red]a.md")
        monkeypatch.setattr(cli, "app", Mock(side_effect=refused))
        assert call("models") == 1
        assert capfd.readouterr().err == "Error: cards/[red]a.md: Permission denied.\n"

    def test_what_the_system_never_said_is_not_taken_for_its_words(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli, "app", Mock(side_effect=OSError("a mistake of ours")))
        with pytest.raises(OSError, match="a mistake of ours"):
            call("models")
