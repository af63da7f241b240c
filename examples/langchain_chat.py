"""Chat Completions with LangChain's ChatOpenAI.

.venv/bin/python -m pip install langchain-openai
OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none OPENAI_MODEL=smollm2-135m-instruct \
    .venv/bin/python examples/langchain_chat.py "Why is it blue?"
"""

import os
import sys

from langchain_openai import ChatOpenAI

model = ChatOpenAI(
    base_url=os.environ["OPENAI_BASE_URL"],
    api_key=os.environ["OPENAI_API_KEY"],
    model=os.environ["OPENAI_MODEL"],
)
print(model.invoke(sys.argv[1]).content)
for chunk in model.stream(sys.argv[1]):
    print(chunk.content, end="", flush=True)
print()
