"""What `preproc bench` measures, and what it says when something is missing. No test times."""

from __future__ import annotations

import io
import json
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from PIL import Image

from preproc import bench, cli
from preproc.bench import contenders
from preproc.bench.contenders import Contender, ours, photograph
from preproc.bench.peak_memory import PeakMemory
from preproc.bench.sizes import parse_size
from preproc.bench.tables import report, table
from preproc.bench.timing import Row, Timing, measure
from preproc.errors import ModelError, OptionError

CPU = torch.device("cpu")
TIMING = Timing(CPU, runs=2, seconds=0)


def contender(name="it", part="network", work=None, macs=10):
    return Contender(name, part, "float32", macs, work or (lambda _: lambda: None))


def row(**values) -> Row:
    defaults = {"contender": "it", "part": "network", "height": 10, "width": 20, "batch": 1}
    defaults |= {"dtype": "float32", "runs": 3, "first_ms": 9.0, "median_ms": 2.0}
    defaults |= {"fastest_ms": 1.0, "pixels_per_s": 1e5, "flop_per_s": 2e6}
    return Row(**defaults | {"device_mib": None, "host_mib": None} | values)


@pytest.mark.parametrize(
    ("text", "size"), [("word", (32, 100)), ("720p", (720, 1280)), ("4K", (2160, 3840))]
)
def test_sizes_have_names(text, size):
    assert parse_size(text) == size


def test_sizes_are_width_times_height():
    assert parse_size("640x480") == (480, 640)


@pytest.mark.parametrize("text", ["", "640", "0x10", "-1x5", "axb", "1x2x3", "9999999x1"])
def test_other_sizes_are_refused_with_what_is_right(text):
    with pytest.raises(OptionError, match="WIDTHxHEIGHT"):
        parse_size(text)


@pytest.mark.parametrize("text", ["999999x999999", "65501x1", "1x65501", "20000x20000"])
def test_sizes_that_no_file_has_are_refused(text):
    with pytest.raises(OptionError, match="65,500 px a side"):
        parse_size(text)


def test_the_largest_sizes_are_taken():
    assert parse_size("65500x2732") == (2732, 65500)
    assert bench.sizes.MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


def test_a_picture_that_memory_does_not_hold_is_a_note_and_stops_no_other(monkeypatch):
    def made(height, width):
        if height == 4:
            raise MemoryError
        return photograph(height, width)

    monkeypatch.setattr(bench.timing, "photograph", made)
    note, found = measure([contender()], [(4, 5), (6, 7)], [1], TIMING)
    assert "no memory for a picture of 5x4 px" in note
    assert (found.height, found.width) == (6, 7)


def test_photograph_is_a_file_of_the_size_asked_for():
    with Image.open(io.BytesIO(photograph(13, 40))) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 13))


def test_warm_runs_take_turns_after_a_first_one():
    order: list[str] = []
    rivals = [contender(name, work=lambda _, n=name: lambda: order.append(n)) for name in "ab"]
    rows = list(measure(rivals, [(4, 5)], [1], TIMING))
    assert order == ["a", "b"] + ["a", "b"] * 2
    assert [found.contender for found in rows] == ["a", "b"]


@pytest.mark.parametrize("clock", ["wall", "cpu"])
def test_the_clock_is_read_when_the_device_has_nothing_left_to_do(clock, monkeypatch):
    order: list[str] = []

    def note(name):
        return lambda *_: order.append(name) or float(len(order))

    clocks = SimpleNamespace(perf_counter=note("wall"), process_time=note("cpu"))
    monkeypatch.setattr(bench.timing, "time", clocks)
    monkeypatch.setattr(torch.accelerator, "synchronize", note("wait"))
    assert Timing(torch.device("cuda"), clock=clock).take(note("work")) == 5 - 2
    assert order == ["wait", clock, "work", "wait", clock]


def test_every_size_batch_and_part_has_its_row():
    seen: list[tuple[str, int]] = []

    def work(files):
        with Image.open(io.BytesIO(files[0])) as image:
            seen.append((image.size, len(files)))
        return lambda: None

    rivals = [contender(part="network", work=work), contender(part="stage", work=work)]
    rows = list(measure(rivals, [(4, 5), (6, 7)], [1, 3], TIMING))
    keys = [(found.part, found.height, found.width, found.batch) for found in rows]
    assert keys == [
        (part, *size, batch)
        for size in ((4, 5), (6, 7))
        for batch in (1, 3)
        for part in ("network", "stage")
    ]
    assert seen == [((width, height), batch) for _, height, width, batch in keys]


def test_speed_counts_the_pixels_of_a_batch_and_two_operations_a_mac(monkeypatch):
    times = iter([7.0, 1.0, 4.0, 2.0])
    monkeypatch.setattr(Timing, "take", lambda *_: next(times))
    (found,) = measure([contender(macs=50)], [(10, 20)], [2], Timing(CPU, runs=3))
    assert found.first_ms == 7000
    assert (found.median_ms, found.fastest_ms, found.runs) == (2000, 1000, 3)
    assert found.pixels_per_s == 10 * 20 * 2 / 2.0
    assert found.flop_per_s == 2 * 50 * found.pixels_per_s


def test_long_runs_are_not_repeated_beyond_the_time_given(monkeypatch):
    monkeypatch.setattr(Timing, "take", lambda *_: 1.0)
    (found,) = measure([contender()], [(4, 4)], [1], Timing(CPU, runs=50, seconds=6))
    assert found.runs == 6
    (found,) = measure([contender()], [(4, 4)], [1], Timing(CPU, runs=50, seconds=0))
    assert found.runs == bench.timing.MIN_RUNS


def test_full_memory_is_a_sentence_and_stops_no_other():
    def full(_):
        raise torch.OutOfMemoryError("full")

    found = list(measure([contender("large", work=full), contender()], [(4, 5)], [2], TIMING))
    assert "large (network) ran out of memory with 2 picture(s) of 5x4 px" in found[0]
    assert [f.contender for f in found if isinstance(f, Row)] == ["it"]


def fails_in_run(number, error):
    """The work of a contender that fails in its first (1) or a later run."""
    runs = iter(range(1, 100))

    def run():
        if next(runs) == number:
            raise error

    return lambda _: run


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("full"), MemoryError()])
def test_memory_that_is_full_in_a_later_run_is_a_sentence_and_stops_no_other(error):
    large = contender("large", work=fails_in_run(2, error))
    note, row = measure([large, contender()], [(4, 5)], [2], TIMING)
    assert "large (network) ran out of memory with 2 picture(s) of 5x4 px" in note
    assert (row.contender, row.runs) == ("it", 2)


@pytest.mark.parametrize("number", [1, 2])
def test_other_errors_are_not_hidden(number):
    broken = contender(work=fails_in_run(number, RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(measure([broken], [(4, 5)], [1], TIMING))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak and forgets it")
def test_host_memory_is_the_peak_of_the_first_run():
    def work(_):
        return lambda: bytearray(b"x") * (64 * 2**20)

    bytearray(b"x") * (256 * 2**20)  # and is gone
    (found,) = measure([contender(work=work)], [(4, 4)], [1], TIMING)
    assert found.host_mib == pytest.approx(64, abs=16)
    assert found.device_mib is None


def test_memory_is_told_where_the_system_keeps_its_peak(monkeypatch):
    monkeypatch.setattr(Path, "write_text", Mock(side_effect=PermissionError))
    (found,) = measure([contender()], [(4, 4)], [1], TIMING)
    assert found.host_mib is None or found.host_mib >= 0


def test_device_memory_is_that_above_what_was_taken_before(monkeypatch):
    cuda = Mock(memory_allocated=lambda _: 3 * 2**20, max_memory_allocated=lambda _: 8 * 2**20)
    monkeypatch.setattr(torch, "cuda", cuda)
    memory = PeakMemory(torch.device("cuda"))
    memory.stop()
    assert memory.device_mib == 5
    assert cuda.reset_peak_memory_stats.called


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc returns free memory")
def test_equal_contenders_take_equal_host_memory_whichever_comes_first():
    program = """
import torch
from preproc.bench.contenders import Contender
from preproc.bench.timing import Timing, measure

def work(_):
    return lambda: [bytearray(2**16) for _ in range(2**10)]  # on the heap, in whole pages

rivals = [Contender(name, "network", "float32", 10, work) for name in "abc"]
for row in measure(rivals, [(4, 4)], [1], Timing(torch.device("cpu"), runs=2, seconds=0)):
    print(row.host_mib)
"""
    # In a process of its own: what others have left of the heap is in pieces.
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert [float(line) for line in done.stdout.split()] == pytest.approx([64] * 3, abs=16)


def test_table_compares_with_the_slowest_of_the_same_part_size_and_batch():
    rows = [
        row(contender="slow", pixels_per_s=1e5, device_mib=3.0, host_mib=5.0),
        row(contender="quick", pixels_per_s=4e5),
        row(contender="other", pixels_per_s=8e5, batch=2),
    ]
    header, cells = table(rows)
    assert [line[header.index("x slowest")] for line in cells] == ["1", "4", "1"]
    assert cells[0][header.index("Size")] == "20x10"
    assert cells[0][header.index("Runs")] == "3"
    assert all(len(line) == len(header) for line in cells)
    shown = dict(zip(header, cells[0], strict=True))
    assert (shown["First ms"], shown["Median ms"]) == ("9", "2")
    assert (shown["LR Mpx/s"], shown["TFLOP/s"]) == ("0.1", "2e-06")
    assert (shown["Device MiB"], shown["Host MiB"]) == ("3", "5")


def test_report_names_device_and_versions_and_is_json():
    content = json.loads(json.dumps(report([row()], ["why"], TIMING)))
    assert content["environment"]["device"] == "CPU"
    assert content["environment"]["versions"]["torch"]
    assert content["environment"]["threads"] == torch.get_num_threads()
    assert content["rows"][0]["contender"] == "it"
    assert content["notes"] == ["why"]


def test_ours_gives_network_and_stage_of_a_model_even_without_shipped_weights():
    network, stage = ours("tiny", CPU, "float32")
    assert (network.part, stage.part) == ("network", "stage")
    assert network.macs_per_pixel == 3672
    out = network.work([photograph(9, 12)] * 2)()
    assert tuple(out.shape) == (2, 3, 36, 48)
    assert out.isfinite().all()
    for size, file in zip(
        ((12, 9), (8, 5)), stage.work([photograph(9, 12), photograph(5, 8)])(), strict=True
    ):
        with Image.open(io.BytesIO(file)) as image:
            assert image.size == size
    half = ours("tiny", CPU, "bfloat16")[0]
    assert (network.dtype, half.dtype) == ("float32", "bfloat16")
    assert not torch.equal(half.work([photograph(9, 12)] * 2)().float(), out)


def test_peer_is_what_its_users_run(monkeypatch):
    pytest.importorskip("spandrel", reason="spandrel, which the peer is from, is not installed")
    monkeypatch.setattr(contenders, "choose_dtype", lambda *_: torch.bfloat16)
    plain, stage, best, _ = contenders.peers(CPU)
    assert (plain.dtype, best.dtype) == ("float32", "bfloat16")
    assert best.work([photograph(4, 4)])().dtype == torch.bfloat16
    # 23 blocks of three dense blocks, two convolutions at LR, one at x2, two at x4, the last.
    dense = 9 * (64 * 32 + 96 * 32 + 128 * 32 + 160 * 32 + 192 * 64)
    tail = 64 * 64 * 9 * (1 + 4 + 16 + 16) + 3 * 64 * 9 * (1 + 16)
    assert plain.macs_per_pixel == 23 * 3 * dense + tail
    assert plain.name.endswith("as users run it")
    assert plain.work([photograph(4, 4)])().shape == (1, 3, 16, 16)
    (file,) = stage.work([photograph(4, 5)])()
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == (5, 4)


def run(*args: object, monkeypatch, code: int | None = None) -> None:
    monkeypatch.setattr(sys, "argv", ["preproc", "bench", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert (stop.value.code or None) == code


def test_command_prints_a_table_and_writes_json(tmp_path, monkeypatch, capsys):
    options = ["--model", "tiny", "--device", "cpu", "--size", "8x6", "--no-peers"]
    options += ["--part", "network", "--json", tmp_path / "o.json"]
    run(*options, "--runs", 2, "--clock", "cpu", "--batch", 5, monkeypatch=monkeypatch)
    shown = capsys.readouterr().out
    assert "Times are what the process computed" in shown
    assert f"torch {torch.__version__.partition('+')[0]}" in shown
    assert "8x6" in shown
    saved = json.loads((tmp_path / "o.json").read_text())
    assert saved["clock"] == "cpu"
    (found,) = saved["rows"]
    assert (found["part"], found["runs"], found["batch"]) == ("network", 2, 5)
    run(*options, "--runs", 9, "--seconds", 0, monkeypatch=monkeypatch)
    assert "Times are what" not in capsys.readouterr().out
    (found,) = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert found["runs"] == bench.timing.MIN_RUNS


def test_options_reach_what_is_measured(monkeypatch):
    asked, asked_of_peers, threads, measured = [], [], [], []

    def made(name, device, dtype, *, compiled):
        asked.append((name, device, dtype, compiled))
        return [contender(part="network"), contender(part="stage")]

    def made_of_peers(device, *, compiled):
        asked_of_peers.append((device, compiled))
        return [contender(part="stage")]

    def note(rivals, sizes, batches, timing):
        measured.append(([rival.part for rival in rivals], sizes, batches, timing))
        return iter(())

    monkeypatch.setattr(contenders, "ours", made)
    monkeypatch.setattr(contenders, "peers", made_of_peers)
    monkeypatch.setattr(contenders, "has_peer", lambda: True)
    monkeypatch.setattr(bench.timing, "measure", note)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    options = ["--device", "cpu", "--no-peers", "--runs", 7, "--seconds", 1.5]
    more = ["--model", "a", "--dtype", "float32", "--dtype", "bfloat16", "--compile"]
    more += ["--threads", 3, "--batch", 2, "--batch", 5, "--size", "8x6", "--part", "stage"]
    run(*options, *more, monkeypatch=monkeypatch)
    run(*options, monkeypatch=monkeypatch)
    assert asked_of_peers == []
    for compiled in ([], ["--compile"]):
        run("--device", "cpu", "--model", "a", *compiled, monkeypatch=monkeypatch)
    assert asked_of_peers == [(CPU, False), (CPU, True)]
    assert asked[-3:] == [("a", CPU, None, False)] * 2 + [("a", CPU, None, True)]
    del asked[-3:]
    parts, *_, usual_timing = measured[2]
    assert (parts, usual_timing) == (["network", "stage", "stage"], Timing(CPU, 20, 2.0))
    del measured[2:]
    chosen = [
        ("a", CPU, dtype, form) for dtype in ("float32", "bfloat16") for form in (False, True)
    ]
    usual = [(name, CPU, None, False) for name in ("cajnn", "cajnn-light")]
    assert asked == chosen + usual
    assert threads == [3]
    timing = Timing(CPU, runs=7, seconds=1.5)
    assert measured == [
        (["stage"] * 4, [(6, 8)], [2, 5], timing),
        (["network", "stage"] * 2, [(32, 100), (128, 128)], [1], timing),
    ]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ModelError("not finite")])
def test_a_command_that_is_stopped_shows_and_writes_what_was_measured(
    stop, tmp_path, monkeypatch, capsys
):
    def measured(*_):
        yield row(contender="done")
        raise stop

    monkeypatch.setattr(bench.timing, "measure", measured)
    options = ["--model", "tiny", "--device", "cpu", "--no-peers", "--json", tmp_path / "o.json"]
    monkeypatch.setattr(sys, "argv", ["preproc", "bench", *map(str, options)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code
    saved = json.loads((tmp_path / "o.json").read_text())
    assert [found["contender"] for found in saved["rows"]] == ["done"]
    assert saved["notes"] == ["It was stopped before all was measured."]
    assert "done" in capsys.readouterr().out
    monkeypatch.setattr(bench.timing, "measure", Mock(side_effect=stop))
    with pytest.raises(SystemExit):
        cli.main()
    assert json.loads((tmp_path / "o.json").read_text()) == saved, "nothing takes no place"


def test_where_no_report_can_be_written_is_said_before_measuring(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench.timing, "measure", None)
    options = ["--model", "tiny", "--device", "cpu", "--no-peers", "--json", tmp_path]
    run(*options, monkeypatch=monkeypatch, code=1)
    assert "is a folder" in capsys.readouterr().err


def test_command_says_that_the_peer_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(contenders, "has_peer", lambda: False)
    options = ["--model", "tiny", "--device", "cpu", "--size", "8x6", "--runs", 1]
    run(*options, "--part", "network", monkeypatch=monkeypatch)
    assert "spandrel is not installed" in capsys.readouterr().out
