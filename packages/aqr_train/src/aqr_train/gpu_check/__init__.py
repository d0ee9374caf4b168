"""`make gpu-check`: every check that needs a CUDA device, and the page that says what came of it."""
