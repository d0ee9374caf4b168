"""What a run needs before it runs: memory per process and bytes per step, as formulas and as measurements."""
