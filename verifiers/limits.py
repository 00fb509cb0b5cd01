"""The limits on text that a model wrote, and the version of the rules."""

RULES_VERSION = "5"
"""Part of every verifier's `version`: raise it with any change that can change a verdict."""

MAX_COMPLETION_CHARS = 200_000
"""Only the end of a longer completion is read: the last statement counts."""
MAX_ANSWER_CHARS = 2_000
"""A longer answer is UNDECIDED, a longer gold an error. The longest gold of MATH has 159 characters."""
MAX_BOX_CHARS = 20_000
"""A box with nested braces that is not closed within this many characters is not closed."""
MAX_TOKENS = 800
"""Of an answer that is parsed; MAX_ANSWER_CHARS of ordinary mathematics stay below."""
MAX_DEPTH = 40
"""Of brackets, fractions, roots and powers within one another."""
MAX_NUMBER_CHARS = 1_000
"""Longer numerals are not read as exact numbers: Python's integer parsing is quadratic."""
MAX_BITS = 100_000
"""Of an exact integer: 2024^4046 has 45,000. A larger one is compared modulo two primes or not at all."""
MAX_FACTORIAL = 5_000
"""Of what stands before an exclamation mark, and of the upper index of a binomial coefficient."""
MAX_SUM_TERMS = 2_000
"""Of a sum or product with written bounds that is added up term by term."""
MAX_ITEMS = 200
"""Of a list, set, tuple or matrix."""
MAX_UNORDERED_ITEMS = 40
"""Of a list or set, after equal items are paired off, that are compared each with each."""
MAX_SIGNS = 4
"""Of plus-minus signs in one answer, each of which doubles its values."""
MAX_JOINED_BOXES = 200
"""Of one passage that are read as one list."""
