"""Tasks, evaluation, comparison, reports."""
