"""One chat completion, paid from a prepaid key, and what the key has left. Needs Python 3.8 and nothing else."""

import json
import os
import sys
import urllib.error
import urllib.request


def required(name):
    """A missing key is noticed at the start, not at the first request."""
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set. Add it to .env, or to where this is deployed.")
    return value


URL = required("FAREBOX_URL").rstrip("/")
API_KEY = required("FAREBOX_API_KEY")
MODEL = os.environ.get("FAREBOX_MODEL", "openai/gpt-4o-mini")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would send the key along to wherever a redirect points."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def ask(path, body=None):
    request = urllib.request.Request(
        URL + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=120) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        # {"error": {"message", "type", "code"}}: 401 the key, 402 the money, 403 the permission, 429 the pace.
        sys.exit(f"{path} answered {error.code}: {error.read().decode(errors='replace')}")


completion = ask(
    "/v1/chat/completions",
    {"model": MODEL, "messages": [{"role": "user", "content": "Say hello in five words."}]},
)
print(completion["choices"][0]["message"]["content"])

key = ask("/v1/key")
remaining = min(amount for amount in (key["balance"], key["limit_remaining"]) if amount is not None)
print(f"remaining: ${remaining}")
