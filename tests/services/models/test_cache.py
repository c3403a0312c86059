"""The cache builds once, whole or not at all, and says where to look when a build fails."""

import json
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from contracts.errors import DeadlineError
from services.models.cache import RECORD, ROOT, Build, BuildError, cached, digest, read_record

BUILDER = """
import json, os, sys, time
from pathlib import Path
from services.models.cache import end_with_parent
end_with_parent()
request, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
print("building", os.environ.get("MARK", ""))
Path(request["count"]).open("a").write("x")
(folder / "progress.txt").write_text("half way")
(folder / "half.txt").write_text("half")
time.sleep(request.get("sleep", 0))
if request.get("fail"):
    sys.exit("the builder broke")
if request.get("record", True):
    (folder / "coevolve.json").write_text(json.dumps({"parameters": 7, "warm_start": ""}))
"""


@pytest.fixture
def build(tmp_path, monkeypatch):
    (tmp_path / "a_builder.py").write_text(BUILDER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(**request):
        request["count"] = str(tmp_path / "count")
        return Build("thing-1", "a_builder", request, "building a thing", {"MARK": "marked"})

    return make


def built(tmp_path):
    count = tmp_path / "count"
    return len(count.read_text()) if count.exists() else 0


def get(build, tmp_path, **options):
    options.setdefault("deadline", 60)
    return cached(build, tmp_path / "cache", log=tmp_path / "logs" / "build.log", **options)


def test_a_build_is_kept(build, tmp_path):
    folder = get(build(), tmp_path)
    assert folder == tmp_path / "cache" / "thing-1"
    assert sorted(path.name for path in folder.iterdir()) == [RECORD, "half.txt"]
    assert read_record(folder)["parameters"] == 7
    assert get(build(), tmp_path) == folder
    assert built(tmp_path) == 1
    assert "building marked" in (tmp_path / "logs" / "build.log").read_text()


def test_a_failed_build_leaves_nothing_and_names_the_log(build, tmp_path):
    with pytest.raises(BuildError, match=r"building a thing failed.*build\.log(.|\n)*broke"):
        get(build(fail=True), tmp_path)
    assert not (tmp_path / "cache" / "thing-1").exists()
    assert get(build(), tmp_path).is_dir()


def test_a_build_without_a_record_is_a_failure(build, tmp_path):
    with pytest.raises(BuildError, match="without a model"):
        get(build(record=False), tmp_path)


def test_a_half_built_folder_is_built_again(build, tmp_path):
    folder = tmp_path / "cache" / "thing-1"
    folder.mkdir(parents=True)
    (folder / "left_over.txt").write_text("")
    get(build(), tmp_path)
    assert not (folder / "left_over.txt").exists()


def test_a_build_past_its_deadline_is_ended(build, tmp_path):
    with pytest.raises(DeadlineError, match="building a thing"):
        get(build(sleep=600), tmp_path, deadline=1)
    assert not running(str(tmp_path / "cache"))


def running(text):
    """Processes with ``text`` in their command line; a zombie has none."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if text in " ".join(process.info["cmdline"] or ())]


def test_a_builder_ends_with_the_process_that_started_it(build, tmp_path):
    call = (
        "from pathlib import Path\n"
        "from services.models.cache import Build, cached\n"
        f"place = Path({str(tmp_path)!r})\n"
        f"request = {{'count': str(place / 'count'), 'sleep': 600}}\n"
        "build = Build('thing-1', 'a_builder', request, 'building a thing')\n"
        "cached(build, place / 'cache', log=place / 'log', deadline=60)\n"
    )
    path = os.pathsep.join((str(ROOT), str(tmp_path)))
    parent = subprocess.Popen([sys.executable, "-c", call], env={**os.environ, "PYTHONPATH": path})
    wait_until(lambda: built(tmp_path) == 1)
    assert running(str(tmp_path / "cache"))
    parent.kill()
    parent.wait(10)
    wait_until(lambda: not running(str(tmp_path / "cache")))


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_progress_is_relayed(build, tmp_path):
    said = []
    get(build(sleep=2), tmp_path, progress=said.append)
    assert said == ["half way"]


def test_two_at_once_build_once(build, tmp_path):
    folders = []
    threads = [
        threading.Thread(target=lambda: folders.append(get(build(sleep=1), tmp_path)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert folders == [tmp_path / "cache" / "thing-1"] * 2
    assert built(tmp_path) == 1


def test_waiting_for_another_build_has_a_deadline(build, tmp_path):
    other = threading.Thread(target=lambda: get(build(sleep=4), tmp_path))
    other.start()
    wait_until(lambda: built(tmp_path) == 1)
    with pytest.raises(DeadlineError, match="in another process"):
        get(build(), tmp_path, deadline=0.5)
    other.join(60)
    assert built(tmp_path) == 1


def test_a_digest_depends_on_every_part():
    parts = [{"a": 1, "b": 2}, ["x"], "code"]
    keys = {digest(*parts), digest({"a": 1, "b": 3}, ["x"], "code"), digest(*parts[:2])}
    assert len(keys) == 3
    assert digest({"b": 2, "a": 1}, ["x"], "code") == digest(*parts)
    assert json.dumps(digest(*parts)).strip('"').isalnum()
