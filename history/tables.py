"""The tables of the history. Their names and columns are documented in docs/history.md."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()
# A release that reads or writes the tables in another way makes it larger.
VERSION = 1

REQUESTS = Table(
    "tickertape_requests",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("principal", String(200), nullable=False),
    # Of the conversation, as Redis names it; empty without one.
    Column("conversation_key", String(40), nullable=False),
    # The place of the question in the conversation: `<ms>-<number>`.
    Column("place", String(40), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("model", Text),
    Column("wire", String(32), nullable=False),
    # JSON: the messages of the caller, the ids of its client for them, and what else it named.
    Column("asked", Text, nullable=False),
    Column("links", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("answered", Text),
    Column("reasoning", Text, nullable=False),
    # JSON: the tool calls, the terminal, and the usage of each attempt.
    Column("calls", Text, nullable=False),
    Column("ending", Text, nullable=False),
    Column("usage", Text, nullable=False),
    Column("expires_ms", BigInteger),
    Index("tickertape_requests_of_conversation", "conversation_key", "created_ms"),
    Index("tickertape_requests_of_principal", "principal", "created_ms"),
    Index("tickertape_requests_by_end_of_keeping", "expires_ms"),
    Index("tickertape_requests_by_end", "ended_ms"),
)

CONVERSATIONS = Table(
    "tickertape_conversations",
    METADATA,
    Column("key", String(40), primary_key=True),
    Column("principal", String(200), nullable=False),
    Column("id", Text, nullable=False),
    Column("title", Text),
    # The request of whose question the title was made; empty for another title.
    Column("title_of", String(64), nullable=False),
    # JSON: the options of the latest request.
    Column("options", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),
    Index("tickertape_conversations_of_principal", "principal", "updated_ms"),
    Index("tickertape_conversations_by_end_of_keeping", "expires_ms"),
)

# Requests that were erased. None of them is written again, however late its writer is.
ERASED = Table(
    "tickertape_erased",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("erased_ms", BigInteger, nullable=False),
)

SCHEMA = Table("tickertape_schema", METADATA, Column("version", Integer, primary_key=True))
