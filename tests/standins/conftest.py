"""Makes the stand-ins' own modules importable, as they are when a stand-in runs as a program."""

import sys
from pathlib import Path

STANDINS = Path(__file__).parent
if str(STANDINS) not in sys.path:
    sys.path.insert(0, str(STANDINS))
