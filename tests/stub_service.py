"""A little HTTP server that answers as a test says, to see what a client makes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sensedict import arrays, wire

Answer = tuple[int, dict[str, str], bytes]

INFO = {
    "name": "tiny",
    "version": "1",
    "aliases": ["latest"],
    "lexicon": "pairs@1",
    "teacher": "random",
    "teacher_hash": "a",
    "tokenizer_hash": "b",
    "vocabulary_size": 40,
    "dim": 2,
    "state_point": "final_norm",
    "key_policy": "next",
    "k": 5,
    "senses": 20,
    "tokens_with_senses": 5,
    "words_with_senses": 2,
    "content_hash": "c",
    "published_at": "2025-01-01T00:00:00Z",
    "settings": {},
    "sources": [],
    "of_a_later_release": "passed over",
}


def ok(value: object) -> Answer:
    return 200, {"Content-Type": wire.JSON}, json.dumps(value).encode()


def safetensors(tensors: arrays.Tensors) -> Answer:
    return 200, {"Content-Type": wire.SAFETENSORS}, arrays.encode(tensors)


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **more: object) -> Answer:
    body = {
        "type": f"urn:sensedict:problem:{code}",
        "title": "",
        "status": status,
        "detail": detail,
        "request_id": "r7",
    }
    return status, {"Content-Type": wire.PROBLEM, **(headers or {})}, json.dumps(body | more).encode()


class Stub:
    """Answers each request with the next of its answers; `/v1/limits` and the dictionary are always there."""

    def __init__(self, port: int = 0) -> None:
        self.answers: list[Answer | Callable[[BaseHTTPRequestHandler], None]] = []
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                stub.answer(self)

            def do_POST(self) -> None:
                stub.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                stub.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(f"{handler.command} {handler.path}")
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        if handler.path == wire.LIMITS:
            answer: object = ok({"max_items": 4, "max_page": 2, "later": 1})
        elif handler.command == "GET" and handler.path in ("/v1/dictionaries/tiny@latest", "/v1/dictionaries/tiny@1"):
            answer = ok(INFO)
        else:
            answer = self.answers.pop(0)
        if callable(answer):
            answer(handler)
            return
        status, headers, body = answer  # type: ignore[misc]
        handler.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
