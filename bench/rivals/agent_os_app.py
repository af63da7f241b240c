"""Agno's AgentOS as its documents set up durable runs: a database, Redis, background answers.

Runs with the packages of requirements-rivals.lock, without Tickertape; agent_os.py runs two
processes. The durable queue needs Postgres or Redis as its database.
"""

import os

from agno.agent import Agent
from agno.db.redis import RedisDb
from agno.job_queue import QueueConfig
from agno.models.openai import OpenAIChat
from agno.os import AgentOS

db = RedisDb(db_url=os.environ["REDIS_URL"])
agent = Agent(id="bench", name="bench", model=OpenAIChat(id="bench"), db=db, telemetry=False)
queue = QueueConfig(
    durable=True,
    redis=os.environ["REDIS_URL"],
    max_attempts=int(os.environ["AGNO_ATTEMPTS"]),
)
app = AgentOS(agents=[agent], db=db, queue=queue, telemetry=False).get_app()
