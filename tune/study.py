"""Train a space in full once, then replay ways of searching it on the learning curves:
python tune/study.py --config tune/configs/study.yaml --data DIR.
"""

from collections.abc import Sequence

from amir import durable
from amir.command_line import settings_from
from amir.config import StudySettings
from amir.job import Progress, run_job, say
from amir.sweeping.comparison import compare
from amir.sweeping.comparison_view import comparison_table, draw_comparison
from amir.sweeping.curves import read_curves, train_curves

SHORTCUTS = {"data": "train.data.path"}


def main(arguments: Sequence[str]) -> None:
    settings = settings_from(arguments, StudySettings, shortcuts=SHORTCUTS)
    curves = train_curves(settings, report=Progress("trained settings"))
    comparison = compare(settings, read_curves(curves), report=Progress("replays"))
    table = comparison_table(comparison)
    durable.write_text(curves.with_name("searches.md"), table + "\n")
    figure = draw_comparison(comparison).save(curves.parent)
    say(f"{table}\n\ncurves: {curves}\nfigure: {figure}")


if __name__ == "__main__":
    run_job(main)
