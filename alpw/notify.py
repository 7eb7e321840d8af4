"""News of a campaign to a web address: best effort, and never a reason for anything to fail."""

from __future__ import annotations

import json
import logging
import re
import threading
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

#: Seconds after which a message is given up; finding the address may take longer than the connection's limit.
PATIENCE = 10.0
CONNECTION_PATIENCE = 5.0

_HOST = re.compile(r"https?://(?:[^/?#]*@)?([^/?#]*).*", re.DOTALL)

Message = dict[str, Any]

FORMATS: dict[str, Callable[[str], Message]] = {
    "feishu.cn": lambda text: {"msg_type": "text", "content": {"text": text}},
    "larksuite.com": lambda text: {"msg_type": "text", "content": {"text": text}},
    "dingtalk.com": lambda text: {"msgtype": "text", "text": {"content": text}},
    "weixin.qq.com": lambda text: {"msgtype": "text", "text": {"content": text}},
    "discord.com": lambda text: {"content": text},
}
"""domain of a chat service -> its form of a message; others get ``text``, as Slack does, with all fields"""


def message(url: str, news: Message) -> Message:
    """What is posted to an address.

    Args:
        url: decides the form.
        news: ``campaign``, ``event``, and what else there is to know; ``text`` says all of it in a sentence.
    """
    host = urlsplit(url).hostname or ""
    for domain, form in FORMATS.items():
        if host == domain or host.endswith("." + domain):
            return form(str(news["text"]))
    return news


def tell(url: str | None, **news: Any) -> bool:
    """Post news to an address and return whether it was taken; whatever goes wrong is only logged.

    Args:
        url: of the webhook; None tells nobody.
        news: see `message`.
    """
    if url is None:
        return False
    taken = threading.Event()

    def post() -> None:
        try:
            body = json.dumps(message(url, news), default=str).encode()
            request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
            with urllib.request.urlopen(request, timeout=CONNECTION_PATIENCE):
                taken.set()
        except (OSError, ValueError, HTTPException) as error:
            # User, password and path of the address are secrets, and what cannot be read as one is quoted.
            reason = str(error) if isinstance(error, OSError) else type(error).__name__
            logger.warning("the webhook at %s was not told: %s", _HOST.sub(r"\1", url), reason)

    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return taken.is_set()
