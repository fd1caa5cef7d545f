"""Narration: said where it can be, and never at the cost of the work."""

import errno
import sys

import pytest

from shortlist.progress import say


class FullDisk:
    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    def flush(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_goes_to_stderr(capsys: pytest.CaptureFixture[str]):
    say("index: flat")
    assert capsys.readouterr() == ("", "index: flat\n")


def test_narration_that_cannot_be_written_ends_no_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", FullDisk())
    assert say("index: flat") is None
