"""Everything that runs a model over data: trainer, prediction, shipped configs, the `aqr` command."""

__version__ = "0.1.0"
