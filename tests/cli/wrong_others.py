"""Wrong settings, upstreams, keys, ports and files."""

from tests.cli.setup_stage import Setups, Stage
from tests.support.receiver import SECRET
from tests.support.servers import open_port

OTHERS = Setups()
_add, _setting = OTHERS.add, OTHERS.setting


_setting("a typo in the environment", "settings-unknown", TICKERTAPE_LEASE="5")


@_add("typos in .env", "settings-near")
async def _(stage: Stage) -> None:
    stage.write(".env", "OPENAI_APIKEY=sk-1\n")


_setting("a wrong value", "settings-value", TICKERTAPE_LEASE_S="abc")


@_add("an upstream that is away", "upstream-away")
async def _(stage: Stage) -> None:
    stage.env["OPENAI_BASE_URL"] = f"http://127.0.0.1:{open_port()}/v1"


@_add("an upstream without its /v1", "upstream-path")
async def _(stage: Stage) -> None:
    stage.env["OPENAI_BASE_URL"] = stage.env["OPENAI_BASE_URL"].removesuffix("/v1")


@_add("a wrong key for the upstream", "upstream-key")
async def _(stage: Stage) -> None:
    await stage.upstream(api_key="right")
    stage.env["OPENAI_API_KEY"] = "sk-wrong"


_setting("a model that the upstream does not have", "upstream-model", OPENAI_MODEL="gpt-9")


@_add("no model", "upstream-no-model")
async def _(stage: Stage) -> None:
    del stage.env["OPENAI_MODEL"]


@_add("an error in the table of upstreams", "upstream-table")
async def _(stage: Stage) -> None:
    rows = '[[upstream]]\nname = "a"\nbase_url = "https://a.example/v1"\nweight = 0\n'
    stage.write("upstreams.toml", rows)
    stage.env["TICKERTAPE_UPSTREAMS"] = "upstreams.toml"


@_add("an upstream of the table that is away", "upstream-row")
async def _(stage: Stage) -> None:
    addresses = stage.env["OPENAI_BASE_URL"], f"http://127.0.0.1:{open_port()}/v1"
    rows = (
        f'[[upstream]]\nname = "{n}"\nbase_url = "{url}"\n'
        for n, url in zip("ab", addresses, strict=True)
    )
    stage.write("upstreams.toml", "".join(rows))
    stage.env["TICKERTAPE_UPSTREAMS"] = "upstreams.toml"


@_add("a database of the history in a folder that is missing", "history-away")
async def _(stage: Stage) -> None:
    stage.env["TICKERTAPE_HISTORY_URL"] = "sqlite:////nowhere/passw0rd/history.db"


@_add("a history that a later release has made", "history-newer", role="deliver")
async def _(stage: Stage) -> None:
    stage.history("CREATE TABLE tickertape_schema (version INTEGER)",
                  "INSERT INTO tickertape_schema VALUES (7)",
                  "CREATE TABLE tickertape_erased (id TEXT, erased_ms INTEGER)")  # fmt: skip


@_add("a table of the history that lacks a column", "history-tables", role="deliver")
async def _(stage: Stage) -> None:
    stage.history("CREATE TABLE tickertape_erased (id TEXT)")


@_add("a receiver of webhooks whose name is not known", "webhooks-name", role="deliver")
async def _(stage: Stage) -> None:
    row = '[[receiver]]\nname = "a"\nurl = "https://a.invalid"\n'
    stage.write("webhooks.toml", f'{row}secret = "{SECRET}"\n')
    stage.env["TICKERTAPE_WEBHOOKS"] = "webhooks.toml"


@_add("an upstream that accepts and says nothing", "upstream-silent", is_slow=True)
async def _(stage: Stage) -> None:
    stage.env["OPENAI_BASE_URL"] = f"http://127.0.0.1:{stage.listener()}/v1"


_setting("a file of keys that is missing", "keys-wrong", TICKERTAPE_API_KEYS="@/nowhere/keys.txt")


@_add("a file of keys that everyone may write", "keys-writable")
async def _(stage: Stage) -> None:
    path = stage.write("keys.txt", "a:0123456789abcdef\n", mode=0o666)
    stage.env["TICKERTAPE_API_KEYS"] = f"@{path}"


_setting("a key of one letter", "keys-wrong", TICKERTAPE_API_KEYS="a:k")


@_add("all addresses without keys", "keys-none")
async def _(stage: Stage) -> None:
    stage.arguments.append("--host=0.0.0.0")


@_add("a port in use", "port-taken")
async def _(stage: Stage) -> None:
    stage.arguments = [f"--port={stage.listener()}"]


_setting("a CORS origin without a scheme", "settings-cors", TICKERTAPE_CORS_ORIGINS="one.example")
_setting(
    "a CORS origin with a slash at its end",
    "settings-cors",
    TICKERTAPE_CORS_ORIGINS="https://one.example/",
)
_setting("a folder of roles that is missing", "roles-wrong", TICKERTAPE_ROLES_DIR="/nowhere")
_setting("a deadline before the first byte", "settings-deadline", TICKERTAPE_DEADLINE_S="60")
_setting("a heartbeat of 300 s", "settings-heartbeat", TICKERTAPE_HEARTBEAT_S="300")
_setting(
    "a tenant's limit above the queue's", "settings-tenant-limit", TICKERTAPE_TENANT_LIMIT="20000"
)


@_add("an error in the file of receivers of webhooks", "settings-webhooks")
async def _(stage: Stage) -> None:
    stage.write("webhooks.toml", '[[receiver]]\nname = "a"\nurl = "http://127.0.0.1/in"\n')
    stage.env["TICKERTAPE_WEBHOOKS"] = "webhooks.toml"


_setting("a retention of 1 s", "settings-retention", TICKERTAPE_RETENTION_S="1")


@_add("a port of probes in use", "port-health", role="worker")
async def _(stage: Stage) -> None:
    stage.env["TICKERTAPE_WORKER_HEALTH_PORT"] = str(stage.listener())


@_add("few open files", "files-few", role="api")
async def _(stage: Stage) -> None:
    stage.shell_limit = "256"


@_add("a .env that is no text", "settings-env")
async def _(stage: Stage) -> None:
    (stage.folder / ".env").write_bytes(b"TICKERTAPE_LEASE_S=\xff\n")


@_add("a line of .env without =", "settings-line")
async def _(stage: Stage) -> None:
    stage.write(".env", "# mine\nTICKERTAPE_LEASE_S 5\n")


_setting("an audit log in a folder that is missing", "audit-log", TICKERTAPE_AUDIT_LOG="/nowhere/a")
_setting("every origin without keys", "keys-origins", TICKERTAPE_CORS_ORIGINS="*")


@_add("a worker without an upstream", "upstream-unset", role="worker")
async def _(stage: Stage) -> None:
    del stage.env["OPENAI_BASE_URL"]
