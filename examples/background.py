"""A background response: followed, interrupted in the middle, and resumed at the same event.

OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none \
    .venv/bin/python examples/background.py "Tell me!"
"""

import sys

from openai import OpenAI

client = OpenAI()
model = next(iter(client.models.list())).id

response_id, last_seen = "", 0
with client.responses.create(
    model=model, input=sys.argv[1], background=True, stream=True
) as stream:
    for event in stream:
        last_seen = event.sequence_number
        if event.type == "response.created":
            response_id = event.response.id
        elif event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
            break  # as if the connection were lost here

# Any API process can serve the rest.
for event in client.responses.retrieve(response_id, stream=True, starting_after=last_seen):
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
    elif event.type in {"response.failed", "response.incomplete"}:
        sys.exit(f"\n{event.type}")
print()

shorter = client.responses.create(
    model=model, input="Say it in fewer words.", previous_response_id=response_id
)
print(shorter.output_text)
