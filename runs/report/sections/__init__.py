"""The sections of report.html, each a function from the files of a run to HTML."""
