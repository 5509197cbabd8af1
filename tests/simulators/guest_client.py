"""Run inside a guest, by its own Python: what the way through the ingress costs there.

`python3 -I guest_client.py ADDRESS PORT ROUNDS TOKENS` asks the application for the same completion
at its own address and through the ingress on loopback, by turns, each round in the other order, and
prints one JSON array of `[bare, through]` tokens per second for each round. Answers are streamed,
so that each token takes the whole way.
"""

import http.client
import json
import ssl
import sys
import time

PATH = "/v1/completions"
TIMEOUT_S = 600


def tokens_per_second(connection: http.client.HTTPConnection, tokens: int) -> float:
    """How fast the tokens of one streamed completion came."""
    body = {
        "prompt": "Once upon a time",
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
    }
    headers = {"Content-Type": "application/json"}
    # A connection of its own, made beforehand: servers close those that are idle.
    connection.connect()
    start = time.perf_counter()
    connection.request("POST", PATH, body=json.dumps(body), headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    events = sum(line.startswith(b'data: {"') for line in answer)
    took = time.perf_counter() - start
    connection.close()
    assert events > 1, events
    return events / took


def main(address: str, port: str, rounds: str, tokens: str) -> None:
    """Measure and print."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    bare = http.client.HTTPConnection(address, int(port), timeout=TIMEOUT_S)
    through = http.client.HTTPSConnection("127.0.0.1", 443, timeout=TIMEOUT_S, context=context)
    ways = {"bare": bare, "through": through}
    found = []
    for number in range(-1, int(rounds)):
        speeds = {}
        for name in ways if number % 2 else reversed(ways):
            speeds[name] = tokens_per_second(ways[name], int(tokens))
            # Whoever waits at the console hears that it goes on.
            print(f"round {number}, {name}", file=sys.stderr)  # noqa: T201 - likewise
        if number >= 0:
            found.append([speeds["bare"], speeds["through"]])
    print(json.dumps(found))  # noqa: T201 - this is a command


if __name__ == "__main__":
    main(*sys.argv[1:])
