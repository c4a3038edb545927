"""The errors of the project, one small tree. Every message holds the offending value and the way out.

QrError
├── DataError            a catalogue, query log or qrels file cannot be used
│   └── BadRowError      one row of it is dirty, and on_bad_row="stop"
├── DownloadError        a file could not be fetched, or is not what was pinned
├── IndexMismatchError   an index or a checkpoint belongs to another shop
├── JudgeError           a judge cannot be used, or too many of its verdicts are missing
│   └── StoreError       a verdict store is damaged, foreign, read-only, full or busy
├── SearchError          a checked result list is not what brute force finds
├── ConfigError          a flag or a setting has an impossible value
└── RunFolderError       a run folder is taken, foreign, or half written
"""


class QrError(Exception):
    """Base of all errors that the project raises on purpose."""


class DataError(QrError):
    """A catalogue, query log or qrels file cannot be used."""


class BadRowError(DataError):
    """A row is dirty and the caller asked to stop; `str(error)` has file, line and reason."""


class DownloadError(QrError):
    """A file could not be fetched, or its checksum is not the pinned one."""


class IndexMismatchError(QrError):
    """A saved index or checkpoint was made for another shop."""


class JudgeError(QrError):
    """A judge cannot be used, or the share of missing verdicts passed its limit."""


class StoreError(JudgeError):
    """A verdict store is damaged, foreign, too new, read-only, out of disk or busy; what it holds is untouched."""


class SearchError(QrError):
    """`--check-hits` found a result list with a product not on sale, a wrong hit or a gap."""


class ConfigError(QrError):
    """A flag or setting has an impossible value."""


class RunFolderError(QrError):
    """A run folder exists already, belongs to another run, or is damaged."""
