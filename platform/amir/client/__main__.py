"""Restore files through the service: python -m amir.client URL IN OUT.

Exit codes: 0 done; 1 the service failed or was not reached; 2 a wrong option, path or file, as the
service says; 130 interrupted. With several files the others are restored all the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from amir.client.errands import Errand, errands_of
from amir.client.progress import ProgressBar
from amir.client.sending import ServiceError
from amir.client.service import Client

TOKEN = "AMIR_TOKEN"
QUERY = ("modality", "model", "uncertainty", "upsample", "choose")


def main(arguments: Sequence[str]) -> int:
    """The exit code of a command line."""
    options = _parser().parse_args(arguments)
    try:
        client = _client(options)
        errands = errands_of(options.input, options.out, resume=options.resume)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"error [invalid_setting]: {error}\n")
        return 2
    query = {name: value for name in QUERY if (value := getattr(options, name)) is not None}
    try:
        codes = [_run(errand, client, query, keep=options.keep) for errand in errands]
    except KeyboardInterrupt:
        sys.stderr.write("\nerror [interrupted]: run the same command with --resume to go on\n")
        return 130
    # What the service failed at may work later; that is worth telling before what never will.
    return 1 if 1 in codes else max(codes, default=0)


def _run(errand: Errand, client: Client, query: dict[str, str], *, keep: bool) -> int:
    """Restore one thing and say how it went."""
    bar = ProgressBar(errand.name, sys.stderr)
    try:
        with errand.upload() as upload:
            job = client.submit(upload, on_sent=bar.sending, **query)
        job.wait(bar.restoring)
        errand.save(job)
        bar.say(f"-> {errand.out} (research use only)")
        if not keep:
            job.delete()
    except ServiceError as error:
        bar.say(f"error [{error.code}]: {error}")
        return 2 if 400 <= error.status < 500 and error.status != 429 else 1
    except (OSError, ValueError) as error:
        bar.say(f"error [failed]: {error}")
        return 1
    return 0


def _client(options: argparse.Namespace) -> Client:
    token = os.environ.get(TOKEN)
    if options.token_file is not None:
        token = options.token_file.read_text(encoding="utf-8").strip()
    if not options.url.startswith(("http://", "https://")):
        raise ValueError(f"{options.url} is not an address of the form http://HOST:PORT")
    return Client(
        options.url,
        token or None,
        tries=options.tries,
        timeout_seconds=options.timeout,
        ca_file=options.ca_file,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m amir.client",
        description="Restore MRI, CT and PET files through the service. Research use only.",
        epilog=f"The token comes from --token-file or ${TOKEN}.",
    )
    parser.add_argument("url", help="of the service, such as http://127.0.0.1:8000")
    parser.add_argument(
        "input",
        type=Path,
        help="a .dcm, .zip, .nii, .nii.gz or .npy file, or a folder: one with DICOM files in it is "
        "a series, other files are restored one by one",
    )
    parser.add_argument("out", type=Path, help="file for a file, folder for a folder; must be new")
    parser.add_argument("--modality", choices=("MRI", "CT", "PET"), help="where the file is silent")
    parser.add_argument("--model", help="alias or digest; else the service's default")
    parser.add_argument("--uncertainty", help="further passes for an uncertainty map")
    parser.add_argument("--upsample", help="enlarge the matrix of MR first: none, 2, 3 or 4")
    parser.add_argument("--choose", help="of several series or volumes: as the refusal lists them")
    parser.add_argument("--token-file", type=Path, help="file that holds nothing but the token")
    parser.add_argument("--ca-file", type=Path, help="certificates to trust, in PEM")
    parser.add_argument("--tries", type=int, default=6, help="of each request (6)")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds of each try (60)")
    parser.add_argument("--resume", action="store_true", help="leave out what OUT already holds")
    parser.add_argument("--keep", action="store_true", help="do not delete the jobs at the service")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
