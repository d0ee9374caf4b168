"""The shipped configs; `aqr_core.config.load_config` finds every file beside this one by name."""
