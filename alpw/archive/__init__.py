"""A campaign as one file: its documents, what they refer to, and on request the files that they name.

| module | holds |
| --- | --- |
| `contents` | which documents belong to a campaign, and which collections do not |
| `container` | the file: a tar archive whose last member has the SHA-256 of every other one |
| `folder` | files of the campaign's folder, without passwords |
| `arrival` | what changes in a document when its campaign comes to another place |
| `backup`, `restore` | the two ways |
"""

from alpw.archive.backup import Backup, backup
from alpw.archive.restore import Restored, restore

__all__ = ["Backup", "Restored", "backup", "restore"]
