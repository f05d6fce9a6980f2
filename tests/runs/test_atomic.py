import json
import subprocess
import sys
import textwrap

import pytest

from ups_engine.errors import RunError
from ups_engine.runs.atomic import remove_temporaries, replacing, write_json, write_text


def limited(code, tmp_path, size):
    """Run code in a process whose files cannot grow beyond a size: to the writer that looks like a full disk."""
    prelude = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True
    )


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "first")
    write_text(path, "zweite Fassung: ü")
    assert path.read_text("utf-8") == "zweite Fassung: ü"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_json_has_no_word_for_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"x": [float("nan"), 1.5], "y": {"z": float("-inf")}, "t": (1, float("inf"))})
    text = (tmp_path / "a.json").read_text()
    value = json.loads(text, parse_constant=pytest.fail)
    assert value == {"x": [None, 1.5], "y": {"z": None}, "t": [1, None]}


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_clear_message_and_the_old_file_stays(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    code = """
        import sys
        from pathlib import Path
        from ups_engine.errors import RunError
        from ups_engine.runs.atomic import write_text
        folder = Path(sys.argv[1])
        try:
            write_text(folder / "a.txt", "x" * 100_000)
        except RunError as error:
            print(error.message); print(error.hint)
    """
    done = limited(code, tmp_path, 50_000)
    message, hint = done.stdout.splitlines()
    assert str(tmp_path) in message and "a.txt" in message and "limit" in message
    assert "free some space" in hint and "intact" in hint
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(RunError, match="No such file") as caught:
        write_text(tmp_path / "absent" / "a.txt", "x")
    assert str(tmp_path / "absent") in caught.value.hint


def test_leftovers_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    (tmp_path / ".a.txt.0123456789ab.tmp").write_text("half")
    (tmp_path / "keep.tmp").write_text("mine")
    (tmp_path / ".hidden").write_text("mine")
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "keep.tmp"]


def test_new_files_have_ordinary_permissions(tmp_path):
    write_text(tmp_path / "a.txt", "x")
    (tmp_path / "b.txt").write_text("x")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
