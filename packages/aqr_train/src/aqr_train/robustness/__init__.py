"""A suite of sensor failures, predicted and scored cell by cell; behind `aqr robustness`."""
