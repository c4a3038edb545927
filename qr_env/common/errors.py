"""The exceptions of the project. Every message holds the offending value and a way to resolve it.

QrError
├── DataError            a catalogue, query log or qrels file cannot be used
│   └── BadRowError      one row is invalid, and on_bad_row="stop"
├── DownloadError        a file could not be downloaded, or its checksum is wrong
├── IndexMismatchError   an index or a checkpoint belongs to another shop
├── JudgeError           a judge cannot be used, or too many verdicts are missing
│   └── StoreError       a verdict store is damaged, foreign, read-only, out of disk space or busy
├── SearchError          a result list differs from brute-force search
├── ConfigError          a flag or setting has an invalid value
└── RunFolderError       a run folder exists, belongs to another run, or is incomplete
"""


class QrError(Exception):
    """Base class of all exceptions that the project raises deliberately."""


class DataError(QrError):
    """A catalogue, query log or qrels file cannot be used."""


class BadRowError(DataError):
    """A row is invalid and on_bad_row is "stop"; the message has file, line and reason."""


class DownloadError(QrError):
    """A file could not be downloaded, or its checksum is not the pinned one."""


class IndexMismatchError(QrError):
    """A saved index, checkpoint or state was made for another shop or other settings."""


class JudgeError(QrError):
    """A judge cannot be used, or the share of missing verdicts exceeds its limit."""


class StoreError(JudgeError):
    """A verdict store is damaged, foreign, too new, read-only, out of disk space or busy; its content is unchanged."""


class SearchError(QrError):
    """`traffic.check_hits` of `qr online` found a result list with a product not on sale, a wrong hit or a gap."""


class ConfigError(QrError):
    """A flag or setting has an invalid value."""


class RunFolderError(QrError):
    """A run folder exists already, belongs to another run, or is damaged."""
