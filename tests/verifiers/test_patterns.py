import re

import pytest

from markscheme.verifiers.patterns import compiled_later


def test_it_is_compiled_at_the_first_use_and_then_kept() -> None:
    digits = compiled_later("[0-9]+")
    assert not hasattr(type(digits), "search")
    assert digits.findall("7 and 12") == ["7", "12"]
    assert digits.findall is digits.findall


def test_flags_and_errors_are_those_of_re() -> None:
    assert compiled_later("a", re.IGNORECASE).fullmatch("A")
    with pytest.raises(re.error):
        compiled_later("(").match("x")
