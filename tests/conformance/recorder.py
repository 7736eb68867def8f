"""A proxy that only looks: writes every request down, counts, and tells of web pages that came back.

Paths of its own: GET /_record/count?action=A, GET /_record/pages; POSTs below /_page are answered with an HTML 500, as a
broken gateway would.
"""

import http.client
import http.server
import json
import socket
import threading
import urllib.parse

PAGE = b"<!doctype html>\n<html lang=en><title>500 Internal Server Error</title>\n"


class Recorder(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port, upstream, log):
        super().__init__(("127.0.0.1", port), Handler)
        self.upstream, self.log = upstream, open(log, "a", encoding="utf-8")
        self.lock, self.counts, self.pages = threading.Lock(), {}, []

    def record(self, pairs):
        action = dict(pairs).get("Action", "")
        with self.lock:
            self.counts[action] = self.counts.get(action, 0) + 1
            self.log.write(json.dumps({"action": action, "params": pairs}) + "\n")
            self.log.flush()
        return action

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the play."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for key, value in headers:
            if key.lower() not in ("content-length", "connection", "transfer-encoding", "date", "server"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        if url.path == "/_record/count":
            action = urllib.parse.parse_qs(url.query).get("action", [""])[0]
            return self.answer(200, str(self.server.counts.get(action, 0)).encode())
        if url.path == "/_record/pages":
            return self.answer(200, json.dumps(self.server.pages).encode())
        return self.answer(404, b"")

    def hang_up(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)
        action = self.server.record(pairs)
        if self.path.startswith("/_page"):
            return self.answer(500, PAGE, [("Content-Type", "text/html; charset=utf-8")])
        upstream = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "content-length")}
        try:
            upstream.request("POST", self.path, body, headers)
            answer = upstream.getresponse()
            # What is cut off upstream is cut off here, too.
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return self.hang_up()
        finally:
            upstream.close()
        if answer.status >= 500 and content.lstrip()[:9].lower() in (b"<!doctype", b"<html>\n<h"):
            with self.server.lock:
                self.server.pages.append(action)
        return self.answer(answer.status, content, answer.getheaders())


def serve(port, upstream, log):
    """Starts one in the background."""
    server = Recorder(port, upstream, log)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
