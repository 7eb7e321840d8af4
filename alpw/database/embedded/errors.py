"""The exception that carries one of MongoDB's error codes to the client."""

from __future__ import annotations

import re
from typing import Any

import mongomock
from bson.errors import InvalidDocument
from pymongo.errors import InvalidName

CODE_NAMES = {2: "BadValue", 9: "FailedToParse", 14: "TypeMismatch", 26: "NamespaceNotFound"}
CODE_NAMES |= {27: "IndexNotFound", 59: "CommandNotFound", 238: "NotImplemented", 11000: "DuplicateKey"}
# what mongomock raises, the most specific first
CODE_OF: dict[type[Exception], int] = {NotImplementedError: 238, InvalidName: 73, InvalidDocument: 2}
CODE_OF |= {mongomock.OperationFailure: 2, re.error: 51091, TypeError: 14, OverflowError: 2, ValueError: 9}
CODE_OF |= {AssertionError: 9, AttributeError: 2, LookupError: 2, Exception: 8}


class MongoError(Exception):
    """An error that a command answers with: MongoDB's code, a message, further fields of the reply."""

    def __init__(self, code: int, message: str, **details: Any) -> None:
        self.code = code
        self.fields = {"code": code, "errmsg": message, **details}
        super().__init__(message)

    def as_reply(self) -> dict[str, Any]:
        return {"ok": 0.0, "codeName": CODE_NAMES.get(self.code, f"Location{self.code}"), **self.fields}


def not_implemented(what: str) -> MongoError:
    """The refusal of something that MongoDB has and this server has not, or not rightly."""
    return MongoError(238, f"{what} is not implemented by the embedded server; use a MongoDB server")


def as_mongo_error(error: Exception) -> MongoError:
    """What the client is told of any exception."""
    if isinstance(error, MongoError):
        return error
    if isinstance(error, mongomock.DuplicateKeyError):
        return MongoError(error.code or 11000, str(error.args[0]), **dict(error.details or {}))
    code = next(code for kind, code in CODE_OF.items() if isinstance(error, kind))
    return MongoError(code, f"{type(error).__name__}: {error}")
