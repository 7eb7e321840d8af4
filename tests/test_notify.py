"""News reach a web address, and nothing that it does reaches the campaign."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from alpw import notify

NEWS = {"campaign": "si", "event": "converged", "text": "si converged"}


@pytest.fixture
def server():
    """An address that answers with ``server.status`` and keeps what it was told."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(self.server.status)
            self.end_headers()

        def log_message(self, *_):
            """Keep quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.told, server.status = [], 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_news_are_posted_as_json(server):
    assert notify.tell(f"http://127.0.0.1:{server.server_port}/hook", **NEWS)
    assert server.told == [NEWS]


def test_a_server_that_fails_is_only_logged(server, caplog):
    server.status = 500
    assert not notify.tell(f"http://127.0.0.1:{server.server_port}/hook", **NEWS)
    assert "was not told" in caplog.text


@pytest.mark.parametrize("url", ["http://me:SECRET@127.0.0.1:9/SECRET", "http://127.0.0.1:9?token=SECRET"])
def test_of_an_address_only_the_host_is_logged(caplog, url):
    assert not notify.tell(url, **NEWS)
    assert "127.0.0.1:9 was not told" in caplog.text and "SECRET" not in caplog.text


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://[broken/", "http://no-host.invalid/", None])
def test_an_address_that_is_not_there_breaks_nothing(url):
    assert not notify.tell(url, **NEWS)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://open.feishu.cn/hook/1", {"msg_type": "text", "content": {"text": "si converged"}}),
        ("https://oapi.dingtalk.com/robot", {"msgtype": "text", "text": {"content": "si converged"}}),
        ("https://hooks.slack.com/services/1", NEWS),
        ("https://notfeishu.cn/", NEWS),
    ],
)
def test_chat_services_get_their_own_form(url, expected):
    assert notify.message(url, NEWS) == expected
