"""The recorded end of a trajectory."""

from __future__ import annotations

from alpw.codes.lammps.outputs import END_FILE, End, EndReason


def test_end_is_read_back(tmp_path):
    assert End.read(tmp_path) is None
    end = End(EndReason.TOO_CLOSE, "step 31: atoms Si0-C1 at 0.5 Å", 31, 1.5, "dpgen")
    end.write(tmp_path)
    assert End.read(tmp_path) == end


def test_end_without_a_definition_is_still_read(tmp_path):
    text = '{"reason": "force", "message": "step 3: force", "steps_done": 3, "wall_time": 0.5}'
    (tmp_path / END_FILE).write_text(text)
    assert End.read(tmp_path) == End(EndReason.FORCE, "step 3: force", 3, 0.5, None)
