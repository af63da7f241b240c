"""Pure: every wrong set-up that is known, with the words for it and its fix.

The names are part of `doctor --json`, and stay as they are. `{...}` are facts of the finding.
"""

from collections.abc import Iterable

from tickertape.cli.checks.finding import Case, Level

_FAIL, _WARN = Level.FAIL, Level.WARN
_CONF = "in the configuration of Redis"

SETTINGS = (
    Case("settings-unknown", _FAIL, "a TICKERTAPE_ variable is not a setting",
         "{name} is not a setting", "{fix}", ends_start=True),
    Case("settings-near", _WARN, "a variable of .env or the environment is misspelt",
         "{name} is set, and nothing reads it", "did you mean {close}?"),
    Case("settings-value", _FAIL, "a value is not allowed",
         "{problem}", "correct the value, or unset it", ends_start=True),
    Case("settings-env", _FAIL, ".env cannot be read", "{problem}", "{fix}", ends_start=True),
    Case("settings-old", _WARN, "an old name of a variable is used",
         "{old} is the old name of {new}", "rename it to {new}"),
    Case("settings-line", _WARN, "a line of .env sets nothing",
         "line {number} of .env sets no variable", "write NAME=value, or begin the line with #"),
    Case("settings-cors", _WARN, "a CORS origin is one that no browser sends",
         "TICKERTAPE_CORS_ORIGINS has {origin}, which no browser sends as an origin, so its pages"
         " are refused", "write {instead}"),
    Case("settings-deadline", _WARN, "the deadline is shorter than the wait for the first byte",
         "TICKERTAPE_DEADLINE_S is {deadline}, less than TICKERTAPE_FIRST_BYTE_S ({first_byte}), so"
         " a slow first byte ends the attempt early",
         "set TICKERTAPE_FIRST_BYTE_S below TICKERTAPE_DEADLINE_S"),
    Case("settings-heartbeat", _WARN, "proxies close streams between two heartbeats",
         "TICKERTAPE_HEARTBEAT_S is {heartbeat}, and proxies close a stream that is silent for"
         " longer than they allow: nginx and load balancers 60 s, others less",
         "set TICKERTAPE_HEARTBEAT_S to 15"),
    Case("settings-tenant-limit", _WARN, "one tenant may fill the whole queue",
         "TICKERTAPE_TENANT_LIMIT is {tenant}, more than TICKERTAPE_QUEUE_LIMIT ({queue}), so one"
         " tenant can fill the queue for all",
         "set TICKERTAPE_TENANT_LIMIT below TICKERTAPE_QUEUE_LIMIT"),
    Case("settings-webhooks", _FAIL, "an error in the file of receivers of webhooks",
         "{problem}", "correct the file as docs/webhooks.md shows", ends_start=True),
    Case("settings-retention", _WARN, "answers expire before a reader can come back",
         "TICKERTAPE_RETENTION_S is {retention}, so an answer is gone {retention} s after its end,"
         " before a reader that lost its connection is back",
         "set TICKERTAPE_RETENTION_S to 60 or more"),
)  # fmt: skip

REDIS = (
    Case("redis-unset", _FAIL, "api or worker without REDIS_URL", "REDIS_URL is not set",
         "set it to the server of the queue (redis://host:port), or run `tickertape up`, which"
         " starts one", ends_start=True),
    Case("redis-no-server", _FAIL, "no REDIS_URL, and no embedded server is installed",
         "REDIS_URL is not set, and no server is installed", "{reason}", ends_start=True),
    Case("redis-url", _FAIL, "REDIS_URL has an option that is not known",
         "{problem}", "correct REDIS_URL", ends_start=True),
    Case("redis-away", _FAIL, "nothing listens at the address",
         "{address}: {words}", "start the server, or correct REDIS_URL"),
    Case("redis-name", _FAIL, "the host name is not known",
         "{address}: {words}", "correct the host in REDIS_URL, or its DNS entry"),
    Case("redis-silent", _FAIL, "the server accepts the connection and says nothing",
         "{address}: {words}",
         "look whether the server hangs, and whether it is a Redis: {scheme}"),
    Case("redis-foreign", _FAIL, "the port belongs to another program, such as a web server",
         "{address}: {words}", "correct the port in REDIS_URL: another program listens there"),
    Case("redis-login", _FAIL, "a wrong password or account",
         "{address}: Redis refuses the login: {words}",
         "correct the account in REDIS_URL (redis://name:password@host:port), with special"
         " characters percent-encoded", ends_start=True),
    Case("redis-denied", _FAIL, "the account may not even ask",
         "{address}: {words}", "correct the account in REDIS_URL, or grant it the rights that"
         " docs/redis.md lists"),
    Case("redis-database", _FAIL, "the database number does not exist",
         "{address}: {words}",
         "use a smaller number behind the last / of REDIS_URL (usually 0 to 15), or raise"
         f" `databases` {_CONF}", ends_start=True),
    Case("redis-certificate", _FAIL, "the certificate of the server is not trusted",
         "{address}: the certificate of the server is refused: {words}",
         "name the file of its authority in REDIS_URL (?ssl_ca_certs=/path/ca.crt), and use a host"
         " name that the certificate has", ends_start=True),
    Case("redis-file", _FAIL, "a file that REDIS_URL names cannot be read",
         "{address}: a file that REDIS_URL names cannot be used: {words}",
         "correct the path in REDIS_URL, or make the file readable for this user",
         ends_start=True),
    Case("redis-tls", _FAIL, "TLS fails", "{address}: TLS fails: {words}",
         "use rediss:// for a server with TLS, redis:// for one without"),
    Case("redis-clients", _FAIL, "the server has no connection left",
         "{address}: {words}", f"raise maxclients {_CONF}"),
    Case("redis-kind", _FAIL, "REDIS_URL names a server of another kind, or one that is too old",
         "{address}: {problem}", "correct REDIS_URL, or replace the server", ends_start=True),
    Case("redis-format", _FAIL, "the data in Redis have a form that this release cannot read",
         "{problem}", "see docs/redis.md, Releases side by side", ends_start=True),
    Case("redis-other", _FAIL, "an unexpected reply", "{address}: {words}",
         "compare the server with docs/redis.md"),
    Case("redis-unasked", _WARN, "the account may not run INFO",
         "the account in REDIS_URL may not run INFO: version, memory and persistence are unchecked",
         "add +info to the ACL of the account"),
    Case("redis-rights", _FAIL, "the account lacks commands, keys or channels",
         "the account in REDIS_URL may not run {missing}",
         "grant the rights that docs/redis.md lists (ACL SETUSER)"),
    Case("redis-eviction", _FAIL, "Redis may delete requests when memory is short",
         "maxmemory-policy is {policy}, so Redis deletes requests when memory is short",
         f"set maxmemory-policy noeviction {_CONF}"),
    Case("redis-full", _FAIL, "the memory of Redis is full",
         "the memory is full: {used} of {limit} MB are used, so nothing can be submitted",
         f"raise maxmemory {_CONF}, or lower TICKERTAPE_RETENTION_S"),
    Case("redis-memory", _WARN, "maxmemory is smaller than the queue may become",
         "maxmemory is {limit} MB, less than TICKERTAPE_QUEUE_BYTES ({queue} MB), so Redis is full"
         " before the queue is",
         "raise maxmemory to twice TICKERTAPE_QUEUE_BYTES, or lower TICKERTAPE_QUEUE_BYTES"),
    Case("redis-aof", _WARN, "the append-only file is off",
         "the append-only file is off, so a restart of Redis loses accepted requests",
         f"set appendonly yes and appendfsync everysec {_CONF}"),
    Case("redis-erased", _WARN, "erased texts stay in the append-only file",
         "TICKERTAPE_REWRITE_AOF_S is 0, so erased texts stay in the append-only file until Redis"
         " rewrites it by itself",
         "set TICKERTAPE_REWRITE_AOF_S of the workers, for example to 3600"),
    Case("redis-rewrite", _WARN, "an erasure cannot rewrite the append-only file",
         "TICKERTAPE_REWRITE_AOF_S is {seconds}, and the account in REDIS_URL may not run"
         " BGREWRITEAOF and INFO, so erased texts stay in the append-only file",
         "add +bgrewriteaof +info to the ACL of the account"),
    Case("redis-maxclients", _WARN, "few connections are left for Tickertape",
         "maxclients is {limit} and {used} are in use; one API and one worker may need {needed}",
         f"raise maxclients {_CONF}"),
    Case("redis-pubsub-buffer", _WARN, "connections that receive pushes are cut early",
         "client-output-buffer-limit pubsub is {limit} bytes, so Redis cuts the connection over"
         " which tokens arrive as soon as it falls behind",
         f'set client-output-buffer-limit "pubsub 32mb 8mb 60" {_CONF}'),
    Case("redis-replicas", _FAIL, "too few replicas follow, so Redis takes no writes",
         "{address} takes no writes: {words}",
         f"start the replicas that min-replicas-to-write demands, or lower it {_CONF}"),
    Case("redis-replica", _FAIL, "REDIS_URL names a replica", "{address} is a replica of {primary}",
         "set REDIS_URL to its primary, {primary}"),
    Case("redis-writes", _FAIL, "the server takes no writes for another reason",
         "{address}: {words}", "put the server right; its own log has the reason"),
    Case("redis-partitions", _WARN, "TICKERTAPE_PARTITIONS differs from those in use",
         "TICKERTAPE_PARTITIONS is {wanted} and has no effect: {used} are in use",
         "set it to {used}; `tickertape partitions {wanted}` changes the partitions"),
    Case("redis-unfinished", _WARN, "a change of the partitions was begun and not finished",
         "a change of the partitions to {next} was begun and not finished",
         "run `tickertape partitions {next}`"),
    Case("redis-agreement", _WARN, "a setting differs from that of other processes",
         "{name} is {here}, and a process was started with {agreed}",
         "set it to {agreed}, or restart all processes with {here}"),
    Case("redis-newer", _WARN, "requests wait for workers of a later release",
         "requests that wait for workers of a later release: {waiting}",
         "start workers of the release whose API accepted them"),
    Case("redis-no-worker", _WARN, "requests wait, and no worker runs",
         "no worker asks for work, and requests wait: {waiting}", "start `tickertape worker`"),
)  # fmt: skip

UPSTREAM = (
    Case("upstream-unset", _FAIL, "a worker without an upstream",
         "neither OPENAI_BASE_URL nor OPENAI_API_KEY is set, so every request fails"
         " that no function of yours answers",
         "set OPENAI_API_KEY for OpenAI, or OPENAI_BASE_URL for another server; only"
         " `tickertape up` starts a model of its own"),
    Case("upstream-proxy", _FAIL, "a variable that names a proxy is wrong", "{problem}",
         "correct the value, or unset it", ends_start=True),
    Case("upstream-away", _FAIL, "the upstream cannot be reached", "{address}: {problem}",
         "start the upstream, or correct OPENAI_BASE_URL"),
    Case("upstream-silent", _FAIL, "the upstream accepts the connection and says nothing",
         "{address}: {problem}", "look whether the upstream hangs, and correct OPENAI_BASE_URL"),
    Case("upstream-key", _FAIL, "the upstream refuses the key",
         "{address}: the upstream refuses the key", "correct OPENAI_API_KEY"),
    Case("upstream-path", _FAIL, "the address lacks its path, such as /v1",
         "{address} lists no models, and {longer} does", "set OPENAI_BASE_URL to {longer}"),
    Case("upstream-no-list", _WARN, "the upstream has no list of models", "{address}: {problem}",
         "check OPENAI_BASE_URL, which usually ends with /v1; a server without a list is fine"),
    Case("upstream-error", _FAIL, "the upstream answers with an error", "{address}: {problem}",
         "check OPENAI_BASE_URL and OPENAI_API_KEY, and the log of the upstream"),
    Case("upstream-model", _WARN, "the upstream does not list OPENAI_MODEL",
         "OPENAI_MODEL is {model}, which the upstream does not list. {offered}",
         "set OPENAI_MODEL to a model of the list"),
    Case("upstream-no-model", _WARN, "OPENAI_MODEL is not set",
         "OPENAI_MODEL is not set, so a request that names no model fails. {offered}",
         "set OPENAI_MODEL"),
    Case("upstream-table", _FAIL, "the table of upstreams has an error", "{problem}",
         "correct that file, or unset TICKERTAPE_UPSTREAMS", ends_start=True),
    Case("upstream-row", _FAIL, "an upstream of the table does not list its models",
         "the upstream {name} at {address}: {problem}",
         "start that server, or correct its row and its key in {path}"),
    Case("upstream-local", _FAIL, "the local model cannot run", "the local model cannot run",
         "{reason}", ends_start=True),
    Case("upstream-template", _WARN, "the local model has no chat template",
         "{model} has no chat template", "use an instruct model"),
)  # fmt: skip

EDGE = (
    Case("keys-wrong", _FAIL, "the list of keys is missing, unreadable or wrong", "{problem}",
         "correct TICKERTAPE_API_KEYS", ends_start=True),
    Case("keys-writable", _WARN, "other accounts of this machine may write to the file of keys",
         "{path} may be written by other accounts of this machine, which can add keys of their own",
         "chmod go-w {path}"),
    Case("keys-none", _FAIL, "the API listens for other machines without keys",
         "no keys, and {host} is not loopback", "set TICKERTAPE_API_KEYS, or use --open",
         ends_start=True),
    Case("keys-origins", _FAIL, "every web page may call an API without keys",
         "TICKERTAPE_CORS_ORIGINS is * and there are no keys, so every web page could use this"
         " server", "name the origins, or set TICKERTAPE_API_KEYS", ends_start=True),
    Case("port-taken", _FAIL, "another program uses the port", "{problem}",
         "choose another port with --port", ends_start=True),
    Case("port-health", _FAIL, "another program uses the port of probes",
         "{variable} is {port}: cannot listen on {host}: {problem}",
         "choose another {variable}, or stop the program that uses this one",
         ends_start=True),
    Case("roles-wrong", _FAIL, "a role file or its folder is missing or wrong", "{problem}",
         "correct the file, or TICKERTAPE_ROLES_DIR", ends_start=True),
    Case("audit-log", _FAIL, "the audit log cannot be written",
         "TICKERTAPE_AUDIT_LOG is {path}: {problem}",
         "choose a path in a folder that exists and that this user may write to",
         ends_start=True),
)  # fmt: skip

HANDING_ON = (
    Case("webhooks-name", _WARN, "the name of a receiver of webhooks is not known",
         "no address was found for the receiver {name} of TICKERTAPE_WEBHOOKS",
         "correct its url, or its DNS entry"),
    Case("webhooks-private", _FAIL, "a receiver of webhooks is inside the network",
         "the receiver {name} of TICKERTAPE_WEBHOOKS leads to no public address, so that it gets no"
         " call", "correct its url or its DNS entry, or write allow_private = true in its row"),
    Case("history-url", _FAIL, "a package for the history is missing", "{problem}",
         "install the package, or unset TICKERTAPE_HISTORY_URL", ends_start=True),
    Case("history-away", _FAIL, "the database of the history does not answer, or takes no writes",
         "TICKERTAPE_HISTORY_URL: {problem}",
         "start the database, or correct the address and the rights of its account"),
    Case("history-newer", _FAIL, "the history has tables of a later release",
         "the tables of the history have version {version}, and this release knows {known}",
         "run the release that made them"),
    Case("history-tables", _FAIL, "a table of the history lacks a column",
         "tables of the history lack columns: {lacks}",
         "add the columns as docs/history.md lists them, or use another database"),
)  # fmt: skip

MACHINE = (
    Case("python-old", _FAIL, "Python is too old", "{version}", "install Python 3.11 or newer"),
    Case("packages-missing", _FAIL, "a package is missing", "missing: {names}",
         "install them: pip install --no-deps --require-hashes -r requirements.lock"),
    Case("files-few", _WARN, "few files may be open",
         "a process may open {limit} files, and each open stream needs one",
         "raise the limit: `ulimit -Hn 65536` as root, or LimitNOFILE= of a systemd unit"),
    Case("data-folder", _FAIL, "the data folder of `up` cannot be written",
         "{folder} is not writable", "choose another folder with --data-dir", ends_start=True),
    Case("data-full", _WARN, "little disk space is free", "{folder} is writable, {free} GB free",
         "free disk space, or choose another folder with --data-dir"),
    Case("clock-off", _WARN, "the clocks of this machine and of Redis differ",
         "the clock of this machine is {off} s {direction} that of Redis, so keys and tickets"
         " expire at wrong times", "synchronize both clocks (NTP)"),
)  # fmt: skip


def by_name(cases: Iterable[Case]) -> dict[str, Case]:
    """The cases by their names."""
    return {case.name: case for case in cases}


CASES = by_name((*SETTINGS, *REDIS, *UPSTREAM, *EDGE, *HANDING_ON, *MACHINE))
