"""The command that a report states: relative to where it is given again, quoted for a shell."""

from pathlib import Path

from dit_accel.cli.options import command_line


def test_paths_below_the_working_directory_are_given_from_there(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = command_line("evaluate", tmp_path / "a.yaml", ["rounds=2"], tmp_path / "re port")
    assert command == "dit-accel evaluate a.yaml --set rounds=2 --report 're port'"


def test_other_paths_and_flags_stay_as_they_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command = command_line("frontier", Path("a.yaml"), [], Path("/elsewhere"), "--select")
    assert command == "dit-accel frontier a.yaml --report /elsewhere --select"
