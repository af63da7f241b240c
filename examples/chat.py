"""Chat Completions with OpenAI's client: a whole answer, then a streamed one.

OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none \
    .venv/bin/python examples/chat.py "Why is it blue?"
"""

import sys

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

client = OpenAI()
model = next(iter(client.models.list())).id
messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": sys.argv[1]}]

answer = client.chat.completions.create(model=model, messages=messages)
print(answer.choices[0].message.content)

with client.chat.completions.create(model=model, messages=messages, stream=True) as stream:
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
