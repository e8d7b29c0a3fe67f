"""Files that never lie: atomic writes, stages that resume, damage that is named, one writer, a ledger for many."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.builders.records import record_changes
from ws import files
from ws.errors import UserError
from ws.runs import artifacts, ledger, reader, writer
from ws.runs.config import RunConfig, from_dict, to_dict
from ws.runs.recipes import mini_full, mini_quick, real_default, recipe_for

IDENTITY = {"fingerprint": "abc", "axis": "def", "threads": 1}


class Disk:
    """Stages that count how often they were computed."""

    def __init__(self, out: Path, new: bool = False, config: RunConfig | None = None) -> None:
        self.out, self.new, self.config = out, new, config or mini_quick()
        self.computed: list[str] = []
        self.said: list[str] = []

    def go(self, stages: tuple[str, ...] = ("0/dose", "0/arms"), fail_at: str = "", version: int = 1) -> Path:
        with writer.open_for_writing(self.out, self.config, IDENTITY, new=self.new, say=self.said.append) as folder:
            before = ""
            for name in stages:
                if name == fail_at:
                    raise KeyboardInterrupt
                file = name.split("/")[1] + ".parquet"
                folder.stage(name, version, before, (file,), lambda name=name: self.compute(name))  # type: ignore[misc]
                before = folder.key(name)
            folder.close("finished")
        return folder.path

    def compute(self, name: str) -> tuple[pl.DataFrame]:
        self.computed.append(name)
        return (pl.DataFrame({"stage": [name], "x": [0.1 + 0.2]}),)


def test_stages_are_reused_and_resumed(tmp_path: Path) -> None:
    first = Disk(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.go(fail_at="0/arms")
    second = Disk(tmp_path)
    path = second.go()
    assert (first.computed, second.computed) == (["0/dose"], ["0/arms"])
    assert len(list((tmp_path / "runs").glob("2*"))) == 1
    third = Disk(tmp_path)
    assert third.go() == path
    assert third.computed == []


def test_new_starts_another_and_computes_all(tmp_path: Path) -> None:
    path = Disk(tmp_path).go()
    again = Disk(tmp_path, new=True)
    assert again.go() != path
    assert again.computed == ["0/dose", "0/arms"]


def test_a_stage_is_borrowed_from_a_run_with_the_same_inputs(tmp_path: Path) -> None:
    Disk(tmp_path).go()
    other = Disk(tmp_path, config=mini_full())
    other.go()
    assert other.computed == []
    assert "same inputs" in other.said[0]


def test_another_version_of_a_stage_is_computed_again(tmp_path: Path) -> None:
    Disk(tmp_path).go()
    later = Disk(tmp_path)
    later.go(version=2)
    assert later.computed == ["0/dose", "0/arms"]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_file_is_named_and_recomputed(tmp_path: Path, damage: str) -> None:
    path = Disk(tmp_path).go()
    file = path / "rounds" / "0" / "dose.parquet"
    whole = file.read_bytes()
    if damage == "remove":
        file.unlink()
    else:
        file.write_bytes(whole[:40] if damage == "truncate" else whole[:40] + b"!" + whole[41:])
    again = Disk(tmp_path)
    again.go()
    assert again.computed == ["0/dose"]
    assert str(file) in again.said[0]
    assert file.read_bytes() == whole
    assert len(list(file.parent.glob("*.damaged-*"))) == (0 if damage == "remove" else 1)


@pytest.mark.parametrize("name", ["status.json", "config.json"])
def test_a_damaged_record_is_rebuilt(tmp_path: Path, name: str) -> None:
    path = Disk(tmp_path).go()
    (path / name).write_text('{"form')
    again = Disk(tmp_path)
    assert again.go() == path
    assert name in again.said[0]
    assert reader.open_run(path).config == mini_quick()


def test_reading_a_damaged_frame_names_it(tmp_path: Path) -> None:
    path = Disk(tmp_path).go()
    (path / "rounds/0/dose.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"dose\.parquet is damaged"):
        reader.open_run(path).frame("dose")
    with pytest.raises(UserError, match=r"heal\.parquet is missing"):
        reader.open_run(path).frame("heal")


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    path = Disk(tmp_path).go()
    record_changes(path, format=99, version="9.9")
    with pytest.raises(UserError, match=r"ws 9\.9 \(run format 99\)"):
        reader.open_run(path)
    with pytest.raises(UserError, match="--new"):
        Disk(tmp_path).go()
    config = json.loads((path / "config.json").read_text()) | {"wavelength": 3}
    (path / "config.json").write_text(json.dumps(config))
    record_changes(path, format=reader.FORMAT)
    with pytest.raises(UserError, match="wavelength"):
        _ = reader.open_run(path).config


def test_open_run_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        reader.open_run(tmp_path / "nothing")
    with pytest.raises(UserError, match="is no run"):
        reader.open_run(tmp_path)
    with pytest.raises(UserError, match="ws run"):
        reader.newest_run(tmp_path)


def test_two_writers_of_one_folder(tmp_path: Path) -> None:
    path = Disk(tmp_path).go()
    with files.folder_lock(path), pytest.raises(UserError, match=f"pid {os.getpid()}"):
        Disk(tmp_path).go()
    Disk(tmp_path).go()


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    path = Disk(tmp_path).go()
    take = f"f = open({str(path / '.lock')!r}, 'a+'); fcntl.flock(f, 2); f.write('1'); f.flush()"
    code = f"import fcntl, os; {take}; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    Disk(tmp_path).go()


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    path = Disk(tmp_path).go()
    (path / "rounds/0/.tmp-1-dose.parquet").write_bytes(b"half")
    (path / "rounds/0/.tmp-1-adapter").mkdir()
    Disk(tmp_path).go()
    assert not list(path.rglob(".tmp-*"))


# Writing


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.json"
    files.write_json(file, {"old": 1})

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        files.write_json(file, {"new": 2})
    monkeypatch.undo()
    assert files.read_json(file) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_full_disk_in_a_stage_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(tmp_path)
    with monkeypatch.context() as patch:
        real = files.write_frame
        patch.setattr(
            artifacts, "write_frame", lambda path, frame: real(path, frame) if path.stem == "dose" else enospc()
        )
        with pytest.raises(UserError, match="disk is full"):
            disk.go()
    again = Disk(tmp_path)
    again.go()
    assert again.computed == ["0/arms"]


def enospc() -> None:
    files.write_atomic(Path("never"), lambda tmp: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    def write(text: str) -> Any:
        def inside(folder: Path) -> None:
            folder.mkdir()
            (folder / text).write_text(text)

        return inside

    files.write_atomic(tmp_path / "adapter", write("a"))
    files.write_atomic(tmp_path / "adapter", write("b"))
    assert [p.name for p in (tmp_path / "adapter").iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["adapter"]


# Ledger


def _append(args: tuple[str, int]) -> None:
    ledger.append_result(Path(args[0]), {"run": f"run-{args[1]}", "d_target": args[1] / 3, "argv": "a\tb\nc"})


def test_the_ledger_takes_many_writers(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pool.map(_append, [(str(tmp_path), i) for i in range(24)])
    frame = ledger.read_results(tmp_path)
    assert frame.columns == list(ledger.COLUMNS)
    assert sorted(frame["run"]) == sorted(f"run-{i}" for i in range(24))
    assert frame["argv"][0] == "a b c"


def test_a_run_stands_in_the_ledger_once(tmp_path: Path) -> None:
    _append((str(tmp_path), 1))
    _append((str(tmp_path), 1))
    assert ledger.read_results(tmp_path).height == 1
    with pytest.raises(ValueError, match="colour"):
        ledger.append_result(tmp_path, {"run": "x", "colour": 1})


def test_a_ledger_with_other_columns_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "results.tsv").write_text("old\tcolumns\n1\t2\n")
    _append((str(tmp_path), 1))
    assert ledger.read_results(tmp_path).height == 1
    assert len(list(tmp_path.glob("results.2*.tsv"))) == 1


def test_no_ledger_yet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ws run"):
        ledger.read_results(tmp_path)


# Configuration


@pytest.mark.parametrize("config", [mini_quick(), mini_full(), real_default("Qwen/Qwen3-0.6B")])
def test_a_configuration_goes_through_json(config: RunConfig) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_recipes() -> None:
    assert recipe_for("mini") == mini_quick()
    assert recipe_for("some/model").model == "some/model"
    with pytest.raises(UserError, match="quick"):
        recipe_for("mini", "slow")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("dose", "grid"), [1.0, float("nan")], "finite"),
        (("dose", "grid"), [1.0, 0.5], "rise"),
        (("dose", "grid"), [], "empty"),
        (("dose", "texts"), 1, "at least 8"),
        (("data", "keep"), 3, "heal.min_rows"),
        (("rounds",), 0, "at least 1"),
        (("seeds",), [], "at least one"),
        (("seeds",), [1, 1], "repeat"),
        (("threads",), 0, "at least 1"),
        (("evaluation", "think"), -1, "negative"),
    ],
)
def test_bad_configurations_say_the_way_out(path: tuple[str, ...], value: Any, message: str) -> None:
    plain = to_dict(mini_quick())
    inner = plain
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(UserError, match=message):
        from_dict(plain)


@pytest.mark.parametrize(
    ("code", "told"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EFBIG, "ulimit -f"),
     (errno.EROFS, "that you may write"), (errno.EACCES, "that you may write"), (errno.ENOTDIR, "Name another folder")],
)  # fmt: skip
@pytest.mark.parametrize("library", [False, True])
def test_what_the_file_system_refuses_is_said(tmp_path: Path, code: int, told: str, library: bool) -> None:
    """Also where a library tells it as text, as polars and safetensors do."""
    error = RuntimeError(f"cannot serialise: {os.strerror(code)} (os error {code})") if library else OSError(code, "no")
    files.write_json(tmp_path / "x.json", 1)
    with pytest.raises(UserError, match=told) as caught:
        files.write_atomic(tmp_path / "x.json", lambda tmp: (_ for _ in ()).throw(error))
    assert "x.json" in str(caught.value) and files.read_json(tmp_path / "x.json") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_mistake_of_ours_is_no_refusal(tmp_path: Path) -> None:
    for error in (ValueError("shape"), FileNotFoundError(errno.ENOENT, "what was to be read")):
        with pytest.raises(type(error)):
            files.write_atomic(tmp_path / "x.json", lambda tmp, error=error: (_ for _ in ()).throw(error))


def test_a_folder_that_a_file_stands_in_for(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UserError, match="could not be written"), files.folder_lock(tmp_path / "out" / "runs"):
        pass
    with pytest.raises(UserError, match="could not be written"):
        files.write_json(tmp_path / "out" / "x.json", 1)


def test_a_real_limit_on_file_sizes(tmp_path: Path) -> None:
    """A frame that polars may not write whole: a message, nothing half written, exit code of a user's error."""
    import subprocess
    import sys

    script = (
        "import polars as pl, pathlib, sys\nfrom ws import files\nfrom ws.errors import UserError\n"
        f"path = pathlib.Path({str(tmp_path / 'x.parquet')!r})\n"
        "try:\n    files.write_frame(path, pl.DataFrame({'a': range(200_000)}))\n"
        "except UserError as error:\n    print(error); sys.exit(2)\n"
    )
    line = f"ulimit -f 8; trap '' XFSZ; exec {sys.executable} -c \"$0\""
    done = subprocess.run(["bash", "-c", line, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "ulimit -f" in done.stdout, done.stderr[-500:]
    assert not list(tmp_path.iterdir())


def test_two_paths_of_one_run_are_one_line(tmp_path: Path) -> None:
    from ws.runs.ledger import COLUMNS, append_result, read_results

    row = dict.fromkeys(COLUMNS, "x")
    for path in ("out/runs/1", str(tmp_path / "runs/1"), "out/runs/2"):
        append_result(tmp_path, row | {"run": path})
    assert read_results(tmp_path)["run"].to_list() == ["out/runs/1", "out/runs/2"]
    (tmp_path / "results.tsv").write_text("")
    with pytest.raises(UserError, match=r"results\.tsv is damaged"):
        read_results(tmp_path)


def test_a_writer_removes_what_a_killed_one_of_the_same_file_left(tmp_path: Path) -> None:
    """Of this machine and of that file; what a living process prepares is its own."""
    host, file = socket.gethostname(), tmp_path / "x.json"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [tmp_path / f".tmp-{gone.pid}@{host}-x.json", tmp_path / f".tmp-{gone.pid}@{host}-old-x.json"]
    theirs = [tmp_path / f".tmp-1@{host}-x.json", tmp_path / f".tmp-{gone.pid}@elsewhere-x.json",
              tmp_path / f".tmp-{gone.pid}@{host}-y.json"]  # fmt: skip
    for path in (left[0], *theirs):
        path.write_text("half")
    left[1].mkdir()
    files.write_json(file, 1)
    assert sorted(tmp_path.iterdir()) == sorted([file, *theirs])


def test_a_damaged_line_of_the_ledger_is_named_and_may_be_deleted(tmp_path: Path) -> None:
    for i in range(3):
        _append((str(tmp_path), i))
    path = tmp_path / "results.tsv"
    before = path.read_text().split("\n")
    path.write_text("\n".join([*before[:2], before[2].replace("0.333333", "0.733333"), *before[3:]]))
    with pytest.raises(UserError, match=r"line 3 is not what was written\. Delete that line"):
        ledger.read_results(tmp_path)
    path.write_text("\n".join([*before[:2], *before[3:]]))
    assert ledger.read_results(tmp_path)["run"].to_list() == ["run-0", "run-2"]


def test_a_ledger_of_fewer_columns_is_read_and_carried_over(tmp_path: Path) -> None:
    """As this version's columns were before the settings of the heal, sampling and KL came behind them."""
    names, path = ledger.COLUMNS[: ledger.COLUMNS.index("adapter")], tmp_path / "results.tsv"
    lines = [ledger._line([f"{name} {i}" for name in names]) for i in range(3)]
    lines[1] = lines[1].replace("model 1", "model 7")
    path.write_text("\n".join(["\t".join([*names, ledger.CHECK]), *lines]) + "\n")
    with pytest.raises(UserError, match="line 3 is not what was written"):
        ledger.read_results(tmp_path)
    _append((str(tmp_path), 1))
    with pytest.raises(UserError, match="line 3 is not what was written"):  # damage is carried over as damage
        ledger.read_results(tmp_path)
    kept = path.read_text().split("\n")
    path.write_text("\n".join([*kept[:2], *kept[3:]]))
    frame = ledger.read_results(tmp_path)
    assert frame["run"].to_list() == ["run 0", "run 2", "run-1"]
    assert frame["argv"].to_list()[:2] == ["argv 0", "argv 2"] and frame["kl"].to_list() == [None] * 3
    assert frame.columns == list(ledger.COLUMNS)


def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "results.tsv"
    cells = ["old-run" if name == "run" else "" for name in ledger.COLUMNS]
    path.write_text("\t".join(ledger.COLUMNS) + "\n" + "\t".join(cells) + "\n")
    assert ledger.read_results(tmp_path)["run"].to_list() == ["old-run"]
    _append((str(tmp_path), 1))
    frame = ledger.read_results(tmp_path)
    assert frame["run"].to_list() == ["old-run", "run-1"] and frame["model"].to_list() == [None, None]
    assert [file.name for file in tmp_path.glob("results*")] == ["results.tsv"]
