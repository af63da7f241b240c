"""Asks a question and types the answer. Run it while `tickertape up` runs."""

import sys

import tickertape

with tickertape.Client() as client:
    answer = client.submit(" ".join(sys.argv[1:]) or "Why is the sky blue?")
    print(f"request {answer.request_id}: other programs can follow it, too", file=sys.stderr)
    for piece in answer.text:
        print(piece, end="", flush=True)
print()
