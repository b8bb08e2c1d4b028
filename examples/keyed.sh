#!/bin/sh
# One chat completion, paid from a prepaid key, and what the key has left. Needs curl and nothing else.
set -eu

: "${FAREBOX_URL:?is not set: the address of the service, such as https://api.example.com}"
: "${FAREBOX_API_KEY:?is not set: load it from your secret store, never from source code}"

# curl reads the header from its standard input, so that the key is in no process list.
ask() {
  printf 'Authorization: Bearer %s\n' "$FAREBOX_API_KEY" |
    curl --silent --show-error --fail-with-body --max-time 120 --header @- "$@"
}

ask "${FAREBOX_URL%/}/v1/chat/completions" \
  --header 'Content-Type: application/json' \
  --data "{
    \"model\": \"${FAREBOX_MODEL:-openai/gpt-4o-mini}\",
    \"messages\": [{\"role\": \"user\", \"content\": \"Say hello in five words.\"}]
  }"
echo

ask "${FAREBOX_URL%/}/v1/key"
echo
