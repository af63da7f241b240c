"""LangChain's agent with ChatOpenAI: chat completions and Responses, whole and streamed."""

from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from loop import QUESTION, add, run


def agent(url: str, **options: Any) -> Any:
    model = ChatOpenAI(base_url=url, api_key="k", model="m", max_retries=0, **options)
    return create_agent(model, tools=[tool(add)], system_prompt="Be short.")


def asked() -> Any:
    return {"messages": [{"role": "user", "content": QUESTION}]}


def loop(**options: Any) -> Any:
    async def whole(url: str) -> str:
        done = await agent(url, **options).ainvoke(asked())
        return str(done["messages"][-1].text)

    return whole


run(
    {
        "chat": loop(max_tokens=400),
        "chat-stream": loop(streaming=True),
        "responses": loop(use_responses_api=True, max_tokens=400),
        "responses-stream": loop(use_responses_api=True, streaming=True),
        "responses-previous": loop(use_responses_api=True, use_previous_response_id=True),
    }
)
