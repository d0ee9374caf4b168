"""The verbs of `aqr-eval` that are no part of a larger whole: one file each, imported when it is called."""
