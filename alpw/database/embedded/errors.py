"""MongoDB's error codes, and the exception that carries one to the client."""

from __future__ import annotations

from typing import Any

CODE_NAMES = {
    2: "BadValue",
    8: "UnknownError",
    9: "FailedToParse",
    14: "TypeMismatch",
    20: "IllegalOperation",
    26: "NamespaceNotFound",
    27: "IndexNotFound",
    28: "PathNotViable",
    40: "ConflictingUpdateOperators",
    43: "CursorNotFound",
    48: "NamespaceExists",
    52: "DollarPrefixedFieldName",
    56: "EmptyFieldName",
    59: "CommandNotFound",
    66: "ImmutableField",
    67: "CannotCreateIndex",
    72: "InvalidOptions",
    73: "InvalidNamespace",
    85: "IndexOptionsConflict",
    86: "IndexKeySpecsConflict",
    238: "NotImplemented",
    10334: "BSONObjectTooLarge",
    11000: "DuplicateKey",
}


class MongoError(Exception):
    """An error that a command answers with.

    Args:
        code: MongoDB's error code.
        message: MongoDB's wording where it has one.
        details: further fields of the reply, such as ``keyPattern`` of a duplicate key.
    """

    def __init__(self, code: int, message: str, **details: Any) -> None:
        self.code, self.message, self.details = code, message, details
        super().__init__(message)

    @property
    def code_name(self) -> str:
        return CODE_NAMES.get(self.code, f"Location{self.code}")

    def as_reply(self) -> dict[str, Any]:
        """The reply of a command that failed as a whole."""
        return {
            "ok": 0.0,
            "errmsg": self.message,
            "code": self.code,
            "codeName": self.code_name,
            **self.details,
        }

    def as_write_error(self, index: int) -> dict[str, Any]:
        """The entry in ``writeErrors`` for statement number ``index`` of a write command."""
        return {"index": index, "code": self.code, "errmsg": self.message, **self.details}


def not_implemented(what: str) -> MongoError:
    """The refusal of something that MongoDB has and this server has not."""
    return MongoError(238, f"{what} is not implemented by the embedded server of ALPW; use a MongoDB server")
