"""The service on this machine until Ctrl-C: python -m serve.start [--model RUN --storage DIR].

By default it serves the newest model of jobs/demo.py to this machine alone.
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from amir import cluster
from amir.command_line import settings_from, validate
from amir.config import ServeSettings, StartSettings
from amir.errors import InputError
from amir.job import run_job, say
from serve.local_token import local_token
from serve.proxy import ENVIRONMENT, LOGGING, proxy_options

ROOT = Path(__file__).resolve().parent.parent
APPLICATION = "amir"


def main(arguments: Sequence[str]) -> None:
    start = settings_from(arguments, StartSettings)
    token = local_token(start.tokens)
    settings = service_settings(start)
    # Replicas import this folder too.
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    cluster.connect()
    import ray
    from ray import serve

    from serve.app import build_app

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        say(f"starting {settings.models[settings.default_model]} ...")
        serve.start(http_options=proxy_options(settings.http), logging_config=LOGGING)
        serve.run(build_app(settings), name=APPLICATION, route_prefix="/")
        say(welcome(settings, start.tokens, token))
        stopped.wait()
        say("stopping")
    finally:
        serve.shutdown()
        ray.shutdown()


def service_settings(start: StartSettings) -> ServeSettings:
    """The service of a local start."""
    tree = {
        "models": {"champion": start.model or newest_demo(start.storage)},
        "storage": start.storage.absolute(),
        "tracking": start.tracking,
        "http": start.http,
        "tokens": {"file": start.tokens.absolute()},
        "engine": start.engine,
    }
    return validate(ServeSettings, tree)


def newest_demo(storage: Path) -> str:
    """The run that jobs/demo.py made last in a storage folder."""
    runs = sorted(path.parent.name for path in storage.glob("demo-*/checkpoints"))
    if not runs:
        raise InputError(
            "unknown_model",
            f"there is no model of the demo in {storage}; make one (make demo, a few minutes), or "
            "name one of yours (--model RUN --storage DIR)",
        )
    return runs[-1]


def welcome(settings: ServeSettings, tokens: Path, token: str) -> str:
    """The page's link and three examples, as they can be pasted into a shell."""
    http = settings.http
    url = f"{'https' if http.certificate else 'http'}://{http.host}:{http.port}"
    python = shlex.quote(sys.executable)
    return f"""
The service is ready; only this machine can reach it. Research use only, not for diagnosis.

  page     {url}/#token={token}
  token    in {tokens}, for this file's owner alone

In another terminal, in this folder:

  export AMIR_TOKEN={shlex.quote(token)}

  # an example to restore: a drawn head in low resolution
  curl --fail -H "Authorization: Bearer $AMIR_TOKEN" -o example.nii.gz {url}/examples/mri.nii.gz

  # 1. curl
  curl --fail -H "Authorization: Bearer $AMIR_TOKEN" -H "Content-Type: application/x-nifti" \\
    --data-binary @example.nii.gz -o restored.nii.gz "{url}/v1/restore?modality=MRI"

  # 2. Python
  {python} -c 'import os; from amir.client import Client; \\
    client = Client("{url}", os.environ["AMIR_TOKEN"]); \\
    client.restore("example.nii.gz", modality="MRI").save("restored-in-python.nii.gz")'

  # 3. the client's command line: a file or a folder in, the same out
  {python} -m amir.client {url} example.nii.gz restored-by-client.nii.gz --modality MRI

Ctrl-C ends the service and all that it started."""


if __name__ == "__main__":
    run_job(main)
