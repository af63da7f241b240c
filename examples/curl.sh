#!/bin/sh
# With nothing but curl: submit and follow, ask OpenAI's way, and get the bare text.
#
# examples/curl.sh http://127.0.0.1:8000 "Why is it blue?"
set -eu
api=$1 question=$2

post() { curl -fsSN -H 'Content-Type: application/json' "$@"; }

# Accepted at once; the events can be followed by anyone, at any time, from any of them on.
id=$(post "$api/chat" -d "{\"message\": \"$question\"}" | cut -d'"' -f4)
curl -fsSN "$api/chat/$id/stream"

# The same answer, as bare text.
curl -fsSN "$api/chat/$id/stream?format=text"
echo

# OpenAI's chunks, up to [DONE].
post "$api/v1/chat/completions" \
  -d "{\"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"$question\"}]}"
