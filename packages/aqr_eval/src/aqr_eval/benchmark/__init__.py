"""`aqr-eval benchmark`: how long an evaluation takes and what memory, beside the devkit where it is installed."""
