"""The lines of a growing file, each once."""

from __future__ import annotations

from pathlib import Path

from amir import durable
from amir.training.tail import Tail


def test_each_line_comes_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert tail.news() == []
    path.write_text('{"step": 1}\n{"ste')
    assert tail.news() == [{"step": 1}]
    assert tail.news() == []
    with path.open("a") as file:
        file.write('p": 2}\n')
    assert tail.news() == [{"step": 2}]
    assert not tail.is_anew


def test_a_file_in_its_place_is_read_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    durable.write_text(path, '{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    tail = Tail(path)
    tail.news()
    durable.write_text(path, '{"step": 1}\n')
    assert tail.news() == [{"step": 1}]
    assert tail.is_anew
