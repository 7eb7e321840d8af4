"""``python -m alpw.database.embedded --dir DIR [--socket PATH | --port N]``"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from alpw.database.embedded.server import LOG_FILE, NOTICE, private_directory, serve
from alpw.database.embedded.store import DirectoryInUse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m alpw.database.embedded", description=NOTICE)
    parser.add_argument("--dir", type=Path, required=True, help="data directory, made if it is not there")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--socket", type=Path, help="Unix socket (default: mongo.sock in the data directory)")
    where.add_argument("--port", type=int, help="listen on this port of 127.0.0.1 instead (0: any free one)")
    arguments = parser.parse_args()
    os.umask(0o077)
    log = private_directory(arguments.dir) / LOG_FILE
    logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        serve(arguments.dir, arguments.socket if arguments.port is None else arguments.port)
    except (DirectoryInUse, OSError) as error:
        logging.getLogger(__name__).error("%s", error)
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
