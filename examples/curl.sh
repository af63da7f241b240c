#!/bin/sh
# With curl alone: submit a request and follow it, read its bare text, and call Chat Completions.
#
# examples/curl.sh http://127.0.0.1:8000 "Why is it blue?"
set -eu
api=$1 question=$2

post() { curl -fsSN -H 'Content-Type: application/json' "$@"; }

# The request is accepted at once. Any client can follow its events, at any time, from any event on.
id=$(post "$api/chat" -d "{\"message\": \"$question\"}" | cut -d'"' -f4)
curl -fsSN "$api/chat/$id/stream"

# The same answer, as bare text.
curl -fsSN "$api/chat/$id/stream?format=text"
echo

# A new request over Chat Completions: OpenAI's chunks, up to [DONE].
post "$api/v1/chat/completions" \
  -d "{\"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}]}"
