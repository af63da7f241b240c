"""The command line of `tickertape bench`."""

import argparse
from pathlib import Path

from tickertape.cli.argument_types import address_of, positive_of, rate_of

DESCRIPTION = """\
Submit many requests at once to an API, read each of them with several readers, and check that all
readers get one and the same whole answer. Prints how long everything took.

Without --message, a paced upstream on this machine answers. The command says how a worker of your
deployment reaches it, and waits for that worker. All workers of the deployment must use it. With
--message, your own model answers, which may cost money.

Exit codes: 0 all readers got whole and equal answers; 1 a gap, a difference or an error."""


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    bench.add_argument(
        "url",
        nargs="?",
        metavar="URL",
        help="the API; default: TICKERTAPE_URL, else http://127.0.0.1:8000",
    )
    bench.add_argument("--key", metavar="KEY", help="the API key; default: TICKERTAPE_API_KEY")
    for name, default, words in (
        ("streams", 200, "answers at a time"),
        ("readers", 5, "readers of each answer"),
    ):
        bench.add_argument(
            f"--{name}",
            type=positive_of,
            default=default,
            metavar="N",
            help=f"{words}; default: {default}",
        )
    bench.add_argument(
        "--rate", type=rate_of, default=40.0, metavar="N",
        help="tokens a second of each paced answer; default: 40",
    )  # fmt: skip
    bench.add_argument(
        "--seconds", type=rate_of, default=20.0, metavar="S",
        help="how long a paced answer takes; default: 20",
    )  # fmt: skip
    bench.add_argument(
        "--upstream",
        type=address_of,
        default=("127.0.0.1", 9101),
        metavar="[HOST:]PORT",
        help="where the paced upstream listens; it needs no key; default: 127.0.0.1:9101",
    )
    bench.add_argument("--message", metavar="TEXT", help="let your own model answer this")
    bench.add_argument("-m", "--model", help="of --message; default: OPENAI_MODEL of the server")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the findings as JSON, too")
    bench.add_argument("--plot", type=Path, metavar="FILE", help="draw the times; needs matplotlib")
