"""Pure: one request and one conversation, as the model of the broker knows them."""

from dataclasses import dataclass, field

from tickertape.broker.kinds import TERMINALS

Logged = tuple[int, int, str, str]  # number of the attempt, seq, kind, text


@dataclass
class Request:
    id: str
    tenant: str
    conversation: str | None
    policy: str
    key: tuple[str, str | None, str] | None
    pool: str = ""
    state: str = "queued"
    n: int = 0
    seq: int = 0
    crashes: int = 0
    retries: int = 0
    is_kept: bool = False
    is_suspect: bool = False
    is_handed_over: bool = False
    has_begun: bool = False
    # The state, and the entry of the log that is the last one of its output.
    checkpoint: tuple[str, int, int] | None = None
    # The upstream that keeps the answer, the answer's id, and how many entries attempts have left.
    attached: tuple[str, str, int] | None = None
    owner: str = ""
    opener: str = ""
    log: list[Logged] = field(default_factory=lambda: [(0, 0, "queued", "")])

    @property
    def is_over(self) -> bool:
        return self.state in TERMINALS

    @property
    def text(self) -> str:
        """What readers see of the output."""
        texts: list[str] = []
        for _, _, kind, text in self.log:
            if kind in {"started", "reset"}:
                texts.clear()
            texts.append(text)
        return "".join(texts)

    def write(self, kind: str, text: str = "") -> None:
        self.seq += 1
        self.log.append((self.n, self.seq, kind, text))


@dataclass
class Talk:
    active: str | None = None
    held: list[str] = field(default_factory=list)
    turns: dict[str, str | None] = field(default_factory=dict)
    erased: list[str] = field(default_factory=list)
