"""The limits on text that a model wrote, and the version of the rules."""

RULES_VERSION = "2"
"""Part of every verifier's `version`: raise it with any change that can change a verdict."""

MAX_COMPLETION_CHARS = 200_000
"""Only the end of a longer completion is read: the last statement counts."""
MAX_ANSWER_CHARS = 2_000
"""A longer answer is UNDECIDED, a longer gold an error. The longest gold of MATH has 159 characters."""
MAX_NUMBER_CHARS = 1_000
"""Longer numerals are not read as exact numbers: Python's integer parsing is quadratic."""
MAX_EXPONENT = 1_000
"""Of a power of ten in scientific notation; 10**MAX_EXPONENT is worked out in full."""
MAX_ITEMS = 200
"""Of a list, tuple or matrix that is compared item by item; a longer one goes to the symbolic tier as a whole."""
MAX_NESTING = 4
"""Of brackets within brackets that are compared item by item."""
MAX_UNORDERED_ITEMS = 8
"""Of a list or set, after equal items are paired off, that are compared each with each."""
MAX_GRAMMAR_NESTING = 40
"""Of brackets in what the symbolic tier gets: its grammar takes exponential time over deep ones."""
MAX_SIDES = 6
"""Of a chain of equations a = b = c that is compared side by side."""
MAX_JOINED_BOXES = 50
"""Of one sentence that are read as one list."""
