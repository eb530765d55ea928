"""The cache: what was kept comes back, whoever wrote it; what was damaged does not."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import shutil
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from preproc.errors import CacheWarning, OptionError, OutputError
from preproc.transforms.cache import PictureCache, key_of


def samples(dtype=torch.uint8, seed=0):
    values = torch.rand(1, 3, 9, 7, generator=torch.Generator().manual_seed(seed))
    return values if dtype == torch.float32 else (values * 255).to(dtype)


def used(cache):
    return sum(path.stat().st_size for path in cache.folder.iterdir())


def size_of_an_entry(folder):
    cache = PictureCache(folder)
    cache.put("a", samples())
    return used(cache)


@pytest.fixture
def cache(tmp_path):
    return PictureCache(tmp_path / "cache")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_an_entry_comes_back_exactly_and_in_memory_of_its_own(cache, dtype):
    kept = samples(dtype)
    cache.put("a", kept)
    back = cache.get("a")
    assert back.dtype == dtype
    assert torch.equal(back, kept)
    back.zero_()
    assert torch.equal(cache.get("a"), kept)


def test_an_entry_outlives_its_file(cache):
    cache.put("a", samples())
    back = cache.get("a")
    (path,) = cache.folder.iterdir()
    os.truncate(path, 10)
    assert torch.equal(back, samples())


def test_another_process_finds_it_and_a_stranger_does_not(cache):
    cache.put("a", samples())
    assert torch.equal(PictureCache(cache.folder).get("a"), samples())
    assert cache.get("b") is None


def test_a_folder_may_hold_20_gib_unless_it_is_told_otherwise(cache):
    assert cache.limit == 20 * 2**30


def test_a_home_folder_that_is_not_known_is_a_sentence():
    with pytest.raises(OutputError, match="home folder in ~nobody-here/cache is not known"):
        PictureCache("~nobody-here/cache")


def test_a_working_folder_that_is_gone_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match="working folder, from which cache leads, is gone"):
        PictureCache("cache")


def test_a_folder_stays_the_same_wherever_the_program_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PictureCache("~/kept").folder == tmp_path / "kept"
    monkeypatch.chdir(tmp_path)
    cache = PictureCache("here")
    cache.put("a", samples())
    monkeypatch.chdir(tmp_path / "kept")
    assert cache.get("a") is not None


def test_a_view_is_kept_as_it_looks(cache):
    view = samples().flip(-1).transpose(-1, -2)
    cache.put("a", view)
    assert torch.equal(cache.get("a"), view)


def flip_a_bit(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, lambda data: data[:-9], lambda _: b"", lambda _: b"no such thing" * 50],
    ids=["one bit", "truncated", "empty", "another file"],
)
def test_a_damaged_entry_is_absent_said_so_and_can_be_put_anew(cache, damage):
    cache.put("a", samples())
    (path,) = cache.folder.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(CacheWarning, match=r"a\.safetensors is damaged and is made anew"):
        assert cache.get("a") is None
    cache.put("a", samples())
    assert torch.equal(cache.get("a"), samples())


def test_keys_tell_content_shape_dtype_and_maker_apart():
    picture = samples()
    keys = {
        key_of(picture, "m"),
        key_of(picture, "n"),
        key_of(picture.flip(-1), "m"),
        key_of(picture.transpose(-1, -2), "m"),
        key_of(picture.reshape(3, 1, 9, 7), "m"),
        key_of(picture.to(torch.uint16), "m"),
    }
    assert len(keys) == 6
    assert key_of(picture.clone(), "m") == key_of(picture, "m")


def test_a_result_larger_than_the_cache_does_not_keep_others_out(tmp_path):
    cache = PictureCache(tmp_path, limit=5000)
    with pytest.warns(CacheWarning, match="larger than the whole cache"):
        cache.put("a", torch.zeros(1, 3, 64, 64))
    cache.put("b", torch.zeros(1, 3, 8, 8))
    assert cache.get("a") is None
    assert cache.get("b") is not None


def test_a_full_cache_keeps_what_it_has_takes_no_more_and_says_so_once(tmp_path):
    cache = PictureCache(tmp_path / "cache", limit=2 * size_of_an_entry(tmp_path / "one"))
    cache.put("a", samples(seed=1))
    cache.put("b", samples(seed=2))
    with pytest.warns(CacheWarning, match="is full"):
        cache.put("c", samples(seed=3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache.put("d", samples(seed=4))
    assert cache.get("c") is None
    assert cache.get("d") is None
    assert torch.equal(cache.get("a"), samples(seed=1))
    assert used(cache) <= cache.limit


@pytest.mark.filterwarnings("ignore::preproc.errors.CacheWarning")
def test_where_a_large_picture_finds_no_room_a_small_one_still_may(tmp_path):
    cache = PictureCache(tmp_path, limit=10_000)
    cache.put("a", torch.zeros(1, 3, 40, 40, dtype=torch.uint8))
    cache.put("large", torch.zeros(1, 3, 44, 44, dtype=torch.uint8))
    cache.put("small", samples())
    assert cache.get("large") is None
    assert torch.equal(cache.get("small"), samples())


@pytest.mark.filterwarnings("ignore::preproc.errors.CacheWarning")
def test_a_full_cache_whose_folder_is_deleted_has_room_again(tmp_path, monkeypatch):
    cache = PictureCache(tmp_path / "cache", limit=size_of_an_entry(tmp_path / "one"))
    cache.put("a", samples())
    cache.put("b", samples())
    assert cache.get("b") is None
    shutil.rmtree(cache.folder)
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    cache.put("b", samples())
    assert torch.equal(cache.get("b"), samples())


def count_scans(monkeypatch):
    scans = []
    for name in ("scandir", "listdir"):
        plain = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, f=plain: scans.append(args) or f(*args))
    return scans


def test_the_folder_is_not_gone_through_for_every_entry(cache, monkeypatch):
    scans = count_scans(monkeypatch)
    for n in range(100):
        cache.put(str(n), samples())
    assert 1 <= len(scans) <= 20, "once a second on a slow disk"
    assert all(cache.get(str(n)) is not None for n in range(100))


@pytest.mark.filterwarnings("ignore::preproc.errors.CacheWarning")
def test_nor_is_a_full_one_for_every_entry_it_has_no_room_for(tmp_path, monkeypatch):
    cache = PictureCache(tmp_path / "cache", limit=size_of_an_entry(tmp_path / "one"))
    cache.put("first", samples())
    scans = count_scans(monkeypatch)
    for n in range(100):
        cache.put(str(n), samples())
    assert len(scans) <= 20, "once a second on a slow disk"


@pytest.mark.filterwarnings("ignore::preproc.errors.CacheWarning")
def test_what_others_put_into_the_folder_counts(tmp_path):
    size = size_of_an_entry(tmp_path / "one")
    cache = PictureCache(tmp_path / "cache", limit=100 * size)
    cache.put("first", samples())
    (cache.folder / "theirs.safetensors").write_bytes(bytes(90 * size))
    for n in range(20):
        cache.put(str(n), samples())
    assert used(cache) == 100 * size


@pytest.mark.filterwarnings("ignore::preproc.errors.CacheWarning")
def test_several_that_fill_a_folder_at_one_time_keep_its_limit(tmp_path):
    size = size_of_an_entry(tmp_path / "one")
    caches = [PictureCache(tmp_path / "cache", limit=100 * size) for _ in range(3)]
    for n in range(120):
        caches[n % 3].put(str(n), samples())
    assert used(caches[0]) == 100 * size


def test_a_folder_deleted_meanwhile_is_made_anew(cache):
    shutil.rmtree(cache.folder)
    cache.put("a", samples())
    assert torch.equal(cache.get("a"), samples())


def test_what_killed_writers_left_is_swept_away_and_what_is_being_written_is_not(cache):
    left, writing = cache.folder / ".preproc-1.part", cache.folder / ".preproc-2.part"
    left.touch()
    writing.touch()
    theirs = cache.folder / "film.part"
    theirs.touch()
    for file, age in ((left, 86400), (theirs, 86400), (writing, 1800)):
        os.utime(file, (time.time() - age,) * 2)
    cache.put("a", samples())
    assert not left.exists()
    assert writing.exists()
    assert theirs.exists(), "files of other programs are none of its business"


@pytest.mark.parametrize("seen", [False, True], ids=["before it is looked at", "after that"])
def test_what_another_process_sweeps_away_meanwhile_does_not_end_the_count(
    tmp_path, monkeypatch, seen
):
    cache = PictureCache(tmp_path, limit=10_000)
    left = cache.folder / ".preproc-1.part"
    left.touch()
    os.utime(left, (0, 0))
    (cache.folder / "theirs.safetensors").write_bytes(bytes(cache.limit))
    scandir = os.scandir

    @contextmanager
    def overtaken(folder):
        with scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        if seen:
            listed[0].stat()
        left.unlink()
        yield listed

    monkeypatch.setattr(os, "scandir", overtaken)
    with pytest.warns(CacheWarning, match="is full"):
        cache.put("a", samples())


def test_an_entry_that_another_process_is_reading_is_kept_where_it_cannot_be_replaced(
    cache, monkeypatch
):
    cache.put("a", samples(seed=1))
    denied = PermissionError(13, "Access is denied")  # what Windows says
    monkeypatch.setattr(Path, "replace", Mock(side_effect=denied))
    cache.put("a", samples(seed=2))
    assert torch.equal(cache.get("a"), samples(seed=1))
    with pytest.raises(OutputError, match="Access is denied"):
        cache.put("b", samples())


def test_an_entry_that_is_being_replaced_is_no_damaged_one(cache, monkeypatch):
    cache.put("a", samples())
    monkeypatch.setattr("preproc.transforms.cache.safe_open", Mock(side_effect=PermissionError))
    assert cache.get("a") is None


def test_a_full_disk_says_what_becomes_of_the_cache(cache, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"no room left on the disk for the cache .* delete it"):
        cache.put("a", samples())
    assert not used(cache)


@pytest.fixture
def read_only(monkeypatch):
    """Every disk is read-only, or refuses to be written to for another cause."""

    def lock(cause=errno.EROFS):
        def denied(path, *_, **__):
            raise OSError(cause, os.strerror(cause), str(path))

        for name in ("touch", "open", "unlink", "replace"):
            monkeypatch.setattr(Path, name, denied)

    return lock


def test_a_filled_cache_on_a_read_only_disk_serves_what_it_has_and_says_so_once(cache, read_only):
    cache.put("a", samples())
    read_only()
    with pytest.warns(CacheWarning, match="is only read: .*Read-only file system"):
        reader = PictureCache(cache.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(reader.get("a"), samples())
        reader.put("b", samples())
        assert pickle.loads(pickle.dumps(reader)).get("b") is None


def test_an_empty_cache_that_cannot_be_filled_is_refused(cache, read_only):
    read_only()
    with pytest.raises(OutputError, match="Read-only file system"):
        PictureCache(cache.folder)


def test_a_full_disk_is_said_though_the_cache_could_be_read(cache, read_only):
    cache.put("a", samples())
    read_only(errno.ENOSPC)
    with pytest.raises(OutputError, match=r"no room left on the disk to write .*cache; free some"):
        PictureCache(cache.folder)


def test_a_folder_that_cannot_be_and_a_limit_of_nothing_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        PictureCache(tmp_path / "file" / "cache")
    for limit in (0, "20GB", float("nan"), None):
        with pytest.raises(OptionError, match=f"above 0, but is {limit!r}"):
            PictureCache(tmp_path, limit=limit)


def test_a_folder_without_a_name_does_not_fill_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="folder has no name"):
        PictureCache("")


def write_and_read(folder, worker):
    """Several workers put and get the same keys; what is read must be whole."""
    torch.set_num_threads(1)
    cache = PictureCache(folder)
    warnings.simplefilter("error")
    for turn in range(20):
        for n in range(4):
            back = cache.get(str(n))
            if back is not None and not torch.equal(back, samples(seed=n)):
                raise AssertionError(f"worker {worker} read another picture in turn {turn}")
            cache.put(str(n), samples(seed=n))


def test_workers_may_write_the_same_entries_at_one_time(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_and_read, args=(tmp_path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{n}.safetensors" for n in range(4)
    ]
