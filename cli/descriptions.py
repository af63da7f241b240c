"""What `--help` of each command says about it."""

EXITS = """\
Exit codes: 0 completed; 1 failed; 2 wrong command line or setting; 3 the answer was restarted, so
discard what was written to the pipe or file; 130 cancelled."""
CHAT = f"""\
Submit a message and print the answer as it is generated. Without a message, a terminal opens a
prompt that keeps one conversation, and a pipe or file on stdin is the message. With a message, the
text of a pipe or file follows it. If the connection breaks, the command
reconnects without losing or repeating a byte. Ctrl+C cancels the request on the server. A second
Ctrl+C ends the command at once.

If an answer has to start over, a terminal shows a note and then the new answer. Output to a pipe or
a file cannot be taken back, so there the command ends with exit code 3. With --buffer, nothing is
written before the answer is complete. Only the answer is written to stdout.

{EXITS}"""
WATCH = f"""\
Print the answer to a request that any client submitted, from its beginning. With the id of a
conversation, print its questions and answers, and those to come. Ctrl+C ends the command and does
not disturb the request.

{EXITS}"""
LIST = "List the conversations of the server, or its requests, newest first."
COMPLETION = """\
Print a script that completes the commands and options of tickertape:
  bash: eval "$(tickertape completion bash)"     in ~/.bashrc
  zsh:  tickertape completion zsh >_tickertape   in a folder of $fpath
  fish: tickertape completion fish >~/.config/fish/completions/tickertape.fish"""
UP = """\
Start everything on this machine: the API, the workers, a Redis server unless REDIS_URL is set, and
a small model unless OPENAI_API_KEY or OPENAI_BASE_URL is set, or the model file of
TICKERTAPE_LOCAL_MODEL. All of them end with this command.
After Ctrl+C, workers finish their requests or return them to the queue. A second Ctrl+C skips
finishing."""
API = "Serve the HTTP API. REDIS_URL must be set."
WORKER = """\
Run requests from the queue. REDIS_URL must be set. With a MODULE of yours, requests whose model is
the name of a function in it are answered by that function (docs/functions.md)."""
DELIVER = """\
Hand on the requests that have ended: send webhooks to the receivers in the file of
TICKERTAPE_WEBHOOKS (docs/webhooks.md), and keep requests and conversations in the database of
TICKERTAPE_HISTORY_URL (docs/history.md). REDIS_URL must be set. Several of these processes share
the work."""
MODEL = """\
Serve the local model as an OpenAI-compatible API: the file of TICKERTAPE_LOCAL_MODEL, else the
built-in small one."""
DEAD = """\
Requests that crashed TICKERTAPE_MAX_CRASHES workers. They failed with the code "poison", and their
prompts are kept for a week. `retry` submits them as new requests; `drop` deletes them. For
operators: this command connects to Redis directly and checks no API key."""
KEYS = """\
Add a key for a tenant, list all keys, or revoke one. Redis keeps a hash of the key, and the API
accepts or refuses it within a second. `add` prints the key once. Scopes are some of submit, read,
cancel, erase, list, metrics and admin. For operators: this command connects to Redis directly."""
WEBHOOKS = """\
Webhooks that no receiver has accepted in two days, or whose receiver has answered 410. `list` shows
the reason, and neither address nor text. `retry` has them sent again by `tickertape deliver`, with
the same id; `drop` forgets them. Redis keeps those of the last 10,000 requests of a partition. For
operators: this command connects to Redis directly and checks no API key."""
STATUS = """\
Show whether all is well, and the numbers of the whole deployment: the queue, the workers, the
streams. Exit codes: 0 all is well; 1 something is wrong, or the API does not answer."""
PARTITIONS = """\
Show the partitions of the queue, or change their number while everything runs. New requests use the
new number at once. Requests and conversations that exist stay where they are, and are found there,
so an earlier map is kept until nothing needs it. The command shows what still does, and drops the
map when it is run again with the same number after that.

A change needs no restart and ends within seconds: all processes follow a change within 2 seconds.
If the command is killed, run it again. Stop processes of version 0.1 before, which cannot follow.
For operators: this command connects to Redis directly and checks no API key."""
DOCTOR = """\
Check the settings and everything that `tickertape api`, `worker`, `deliver` or `up` needs. Starts
and changes nothing, and shows no secret. Exit codes: 0 no failure, perhaps warnings; 1 a failure; 2
wrong command line."""
FOOT = (
    "Settings are read from the environment and from .env. `tickertape doctor` checks all of them."
)
