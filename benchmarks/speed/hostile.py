"""Input made to hang, exhaust, confuse or run a verifier. None of it may raise, take long, or be executed.

Texts are made by code, because most are long. A name says which family a text belongs to (`number: ...`,
`code: ...`). Some texts hold NUL or lone surrogates, so that they cannot be encoded as UTF-8.
"""

import base64
from collections.abc import Iterator

DEPTH = 10_000
"""Levels of nesting: ten times what Python's recursion limit allows."""

MANY = 100_000
"""Repetitions of a word or of a list's member: work that grows with the square takes minutes."""

MEGABYTE = 1_000_000
"""Characters of one line."""


def hostile_answers(marker: str) -> Iterator[tuple[str, str]]:
    """Yield (name, answer). A code payload that is executed creates the file `marker`."""
    yield from _numbers()
    yield from _algebra()
    yield from _collections()
    yield from _nesting()
    yield from _long_lines()
    yield from _characters()
    yield from _regex_bait()
    yield from _code(marker)


def hostile_completions(marker: str) -> Iterator[tuple[str, str]]:
    """Yield (name, completion): every hostile answer in a box, and text made against the search for an answer."""
    for name, answer in hostile_answers(marker):
        yield f"boxed {name}", f"The answer is $\\boxed{{{answer}}}$."
    yield from _layout_bait()


def _nested(opening: str, core: str, closing: str, depth: int = DEPTH) -> str:
    return opening * depth + core + closing * depth


def _numbers() -> Iterator[tuple[str, str]]:
    yield "number: tower of plain powers", "9^9^9^9"
    yield "number: tower of Python powers", "9**9**9**9"
    yield "number: tower in braces", "10^{10^{10}}"
    yield "number: tall tower in braces", _nested("2^{", "2", "}", 1_000)
    yield "number: negative tower", "10^{-10^{10}}"
    yield "number: difference of equal towers", "2^{10^{12}} - 2^{10^{12}}"
    yield "number: tower modulo seven", r"3^{10^{10^{10}}} \bmod 7"
    yield "number: tower in a sine", r"\sin(10^{10^{10}})"
    yield "number: exponential tower", "e^{e^{e^{e^{e^{e}}}}}"
    yield "number: root of a huge degree", r"\sqrt[10^{12}]{2^{10^{12}}}"
    yield "number: small base, huge power", "0.1^{10^{9}}"
    yield "number: complex power", "(1+i)^{10^{12}}"
    yield "number: factorial of a factorial", "((9!)!)!"
    yield "number: factorial of a million", "1000000!"
    yield "number: factorial of a power", "(10^6)!"
    yield "number: double factorial", "999999999!!"
    yield "number: run of factorials", "7" + "!" * DEPTH
    yield "number: quotient of factorials", r"\frac{(10^7)!}{(10^7-1)!}"
    yield "number: huge binomial", r"\binom{10^9}{5 \cdot 10^8}"
    yield "number: gamma", r"\Gamma(10^{9})"
    yield "number: huge decimal exponent", "1e999999999"
    yield "number: tiny decimal exponent", "1e-999999999"
    yield "number: exponent of many digits", "1e" + "9" * DEPTH
    yield "number: many decimal places", "0." + "0" * MEGABYTE + "1"
    yield "number: quotient of long integers", r"\frac{" + "7" * MANY + "}{" + "3" * MANY + "}"
    yield "number: long repeating decimal", r"0.\overline{" + "142857" * DEPTH + "}"
    yield "number: long numeral in base two", "10" * MANY + "_2"
    yield "number: base of many digits", "1011_{" + "9" * DEPTH + "}"
    yield "number: long sum sign", r"\sum_{k=1}^{10^{12}} k^k"
    yield "number: nested sum signs", r"\sum_{k=1}^{10^6} " * 30 + "k"
    yield "number: long product sign", r"\prod_{k=1}^{10^{12}} (1 + \frac{1}{k})"
    yield "number: integral", r"\int_0^{10^{9}} \sin(x^{x^x})\,dx"
    yield "number: continued quotient", "1" + "/7" * DEPTH
    yield "number: run of percent signs", "50" + r"\%" * MANY


def _algebra() -> Iterator[tuple[str, str]]:
    yield "algebra: huge power of a letter", "x^{10^9}"
    yield "algebra: power of a binomial", "(x+1)^{99999}"
    yield "algebra: power of a sum of letters", "(a+b+c+d+e+f+g+h)^{999}"
    yield "algebra: power of a power", "((x+1)^{999}+1)^{999}"
    yield "algebra: product of many factors", "".join(f"(x+{i})" for i in range(DEPTH))
    yield "algebra: product of all letters", "".join(f"({c}+1)" for c in "abcdefghjklmnopqrstuvwxyz") + "^{99}"
    yield "algebra: sum of many terms", "+".join(f"{i}x^{{{i}}}" for i in range(DEPTH))
    yield "algebra: sum of many roots", "+".join(rf"\sqrt{{{i}}}" for i in range(DEPTH))
    yield "algebra: sines of sines", _nested(r"\sin(", "x", ")", 1_000)
    yield "algebra: product of cosines", r"\cos x " * DEPTH
    yield "algebra: plus-minus signs, 2^60 values", r"\pm 1" + "".join(rf" \pm {2**i}" for i in range(1, 60))
    yield "algebra: run of minus signs", "-" * MANY + "7"
    yield "algebra: chain of equations", "=".join(["7"] * MANY)
    yield "algebra: chain of inequalities", "<".join(f"x_{{{i}}}" for i in range(DEPTH))
    yield "algebra: rational function of a huge degree", r"\frac{x^{10^9}-1}{x-1}"


def _collections() -> Iterator[tuple[str, str]]:
    yield "collection: long list", ",".join(map(str, range(MANY)))
    yield "collection: long list of one value", ",".join(["1"] * MANY)
    yield "collection: long list of sums", ",".join(rf"\sqrt{{{i}}}+\pi" for i in range(DEPTH))
    yield "collection: long set", r"\{" + ",".join(map(str, range(MANY, 0, -1))) + r"\}"
    yield "collection: long tuple", "(" + ",".join(["0.5"] * MANY) + ")"
    yield "collection: long union", r" \cup ".join(f"({2 * i},{2 * i + 1})" for i in range(DEPTH))
    yield "collection: long run of or", r" \text{ or } ".join(f"x={i}" for i in range(DEPTH))
    yield "collection: square matrix", r"\begin{pmatrix}" + r"\\".join(["&".join(["1"] * 300)] * 300) + r"\end{pmatrix}"
    yield "collection: wide matrix", r"\begin{pmatrix}" + "&".join(["1"] * MANY) + r"\end{pmatrix}"
    yield "collection: matrix to a power", r"\begin{pmatrix}1&1\\1&0\end{pmatrix}^{10^{12}}"
    yield "collection: tuples in tuples", _nested("(1,", "2", ")")
    yield "collection: sets in sets", _nested(r"\{", "", r"\}")
    yield "collection: many cases", r"\begin{cases}" + r"x & y \\ " * DEPTH + r"\end{cases}"


def _nesting() -> Iterator[tuple[str, str]]:
    yield "nesting: round brackets", _nested("(", "7", ")")
    yield "nesting: square brackets", _nested("[", "7", "]")
    yield "nesting: braces", _nested("{", "7", "}")
    yield "nesting: sized brackets", _nested(r"\left(", "7", r"\right)")
    yield "nesting: fractions", _nested(r"\frac{1}{1+", "7", "}")
    yield "nesting: numerators", _nested(r"\frac{", "7", "}{2}")
    yield "nesting: roots", _nested(r"\sqrt{1+", "7", "}")
    yield "nesting: text", _nested(r"\text{", "7", "}")
    yield "nesting: overlines", _nested(r"\overline{", "7", "}")
    yield "nesting: superscripts", _nested("x^{", "7", "}")
    yield "nesting: subscripts", _nested("x_{", "7", "}")
    yield "nesting: bars", _nested("|", "7", "|")
    yield "nesting: minus in brackets", _nested("-(", "7", ")")
    yield "nesting: boxes", _nested(r"\boxed{", "7", "}", 1_000)
    yield "nesting: begin without end", r"\begin{pmatrix}" * DEPTH
    yield "nesting: opening brackets only", "(" * MANY
    yield "nesting: closing brackets only", ")" * MANY
    yield "nesting: closing braces only", "}" * MANY
    yield "nesting: brackets that do not match", "([{" * DEPTH + ")]}" * DEPTH
    yield "nesting: fraction commands without arguments", r"\frac" * DEPTH
    yield "nesting: root commands without arguments", r"\sqrt" * DEPTH


def _long_lines() -> Iterator[tuple[str, str]]:
    for name, unit in (
        ("digits", "7"),
        ("zeros", "0"),
        ("letters", "x"),
        ("spaces", " "),
        ("newlines", "\n"),
        ("dollar signs", "$"),
        ("backslashes", "\\"),
        ("commas", ","),
        ("dots", "."),
        ("carets", "^"),
        ("underscores", "_"),
        ("ampersands", "&"),
        ("quotes", "'"),
        ("open boxes", r"\boxed{"),
    ):
        yield f"line: {name}", unit * (MEGABYTE // len(unit))


def _characters() -> Iterator[tuple[str, str]]:
    yield "character: NUL", "7\0"
    yield "character: run of NUL", "\0" * MANY
    yield "character: bidi overrides", "\u202e81\u202c\u2066\u2067" * 1_000
    yield "character: high surrogate", "7\ud800"
    yield "character: low surrogate first", "\udc00\ud800"
    yield "character: combining marks", "7" + "\u0301\u0338" * DEPTH
    yield "character: zero-width", "1" + "\u200b\u200c\u200d\u2060" * DEPTH + "8"
    yield "character: byte order marks", "\ufeff" * DEPTH + "7"
    yield "character: tags", "7" + "\U000e0037" * DEPTH
    yield "character: full-width", "\uff11\uff18\uff0b\uff08\uff19\uff09\uff3e\uff19" * 1_000
    yield "character: ligature that grows 18-fold when normalised", "\ufdfa" * DEPTH
    yield "character: letters whose case changes their length", "\u0130\u00df\ufb03" * DEPTH
    yield "character: digits that int() refuses", "\u00b2\u2460\u2082"
    yield "character: numerals that are no digits", "\u216b\u4e07\u00bd\u0bf0"
    yield "character: digits of many scripts", "\u0661\u06f2\u0967\u09e7\U0001d7cf"
    yield "character: no characters", "\ufffe\uffff\U0010ffff"
    yield "character: control characters", "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029"
    yield "character: terminal escapes", "\x1b[2J\x1b]0;7\x07" * 100


def _regex_bait() -> Iterator[tuple[str, str]]:
    yield "regex: spaces before a word", "7" + " " * MANY + "x"
    yield "regex: digits with commas", "1,234" * MANY
    yield "regex: groups of three, then a letter", "1" + ",000" * MANY + "x"
    yield "regex: spaced thousands", r"1\,000" * MANY
    yield "regex: digits and dots", "1.1" * MANY
    yield "regex: text without an end", r"\text{ " * MANY
    yield "regex: empty text", r"\text{}" * MANY
    yield "regex: units", r"\text{ cm}" * MANY
    yield "regex: words and spaces", "a " * MANY + "!"
    yield "regex: letters that may be one word", "a" * MANY + "!"
    yield "regex: minus signs and spaces", "- " * MANY
    yield "regex: line breaks in LaTeX", "\\\\" * MANY + "x"
    yield "regex: spacing commands", r"\, \; \! \quad " * MANY
    yield "regex: left without right", r"\left" * MANY
    yield "regex: degrees", r"90^\circ" * MANY
    yield "regex: dollars and digits", "$7" * MANY
    yield "regex: colons", "3:4" * MANY
    yield "regex: stars", "*" * MANY + "7"
    yield "regex: times of day", "12:30 p.m. " * MANY


def _layout_bait() -> Iterator[tuple[str, str]]:
    yield "layout: boxes that never close", r"\boxed{" * MANY
    yield "layout: boxes that never close, each with a value", r"\boxed{7 " * MANY
    yield "layout: boxes without braces", r"\boxed 7 " * MANY
    yield "layout: box commands only", r"\boxed" * MANY
    yield "layout: boxes of different values", "".join(rf"\boxed{{{i}}} " for i in range(MANY))
    yield "layout: joined boxes of one value", " and ".join([r"\boxed{7}"] * DEPTH)
    yield "layout: one box and a million closing braces", r"\boxed{7" + "}" * MEGABYTE
    yield "layout: one box and a million spaces", r"\boxed{7}" + " " * MEGABYTE
    yield "layout: one box after a million opening braces", "{" * MEGABYTE + r"\boxed{7}"
    yield "layout: answer is", "answer is " * MANY
    yield "layout: the answer is not", "the answer is not " * MANY
    yield "layout: the answer is, with values", "the answer is 7. " * MANY
    yield "layout: the answer is, then spaces", "the answer is" + " " * MEGABYTE + "7"
    yield "layout: the answer is, then or", "the answer is 7" + " or 7" * MANY
    yield "layout: final answer in bold", "**Final Answer**\n\n" * MANY
    yield "layout: labels", "Answer:" * MANY
    yield "layout: A on every line", "A: 7\n" * MANY
    yield "layout: four hashes", "####" * MANY
    yield "layout: four hashes with values", "#### 7\n" * MANY
    yield "layout: opening answer tags", "<answer>" * MANY
    yield "layout: closing answer tags", "</answer>" * MANY
    yield "layout: opening think tags", "<think>" * MANY + r"\boxed{7}"
    yield "layout: closing think tags", r"\boxed{7}" + "</think>" * MANY
    yield "layout: thought markers", "<|begin_of_thought|><|end_of_thought|>" * DEPTH + r"\boxed{7}"
    yield "layout: half a tag", "<" * MEGABYTE
    yield "layout: code fences", "```\n" * MANY
    yield "layout: HTML comments that never close", "<!--" * MANY + r"\boxed{7}"
    yield "layout: dollar signs with boxes", r"$\boxed{$" * MANY
    yield "layout: comment signs", "%\n" * MANY + r"\boxed{7}"
    yield "layout: bold marks", "**7" * MANY
    yield "layout: table bars", "| 7 " * MANY
    yield "layout: Chinese anchors", "\u7b54\u6848\u662f" * MANY
    yield "layout: calculator marks", "<<7=7>>" * MANY
    yield "layout: empty lines", "\n" * MEGABYTE + "A: 7"


_PAYLOADS = {
    # expressions
    "import, os.system": "__import__('os').system('touch MARKER')",
    "import, os.popen": "__import__('os').popen('touch MARKER').read()",
    "import, subprocess": "__import__('subprocess').run(['touch', 'MARKER'])",
    "import, pathlib": "__import__('pathlib').Path('MARKER').touch()",
    "import, shutil": "__import__('shutil').copyfile('/dev/null', 'MARKER')",
    "import, ctypes": "__import__('ctypes').CDLL(None).system(b'touch MARKER')",
    "import, importlib": "__import__('importlib').import_module('os').mknod('MARKER')",
    "open": "open('MARKER', 'w')",
    "open and write": "open('MARKER', 'w').write('7')",
    "full-width open": "\uff4f\uff50\uff45\uff4e('MARKER', 'w')",
    "eval": "eval(\"open('MARKER', 'w')\")",
    "exec": "exec(\"open('MARKER', 'w')\")",
    "compile": "eval(compile(\"open('MARKER', 'w')\", '', 'eval'))",
    "lambda": "(lambda path: open(path, 'w'))('MARKER')",
    "default of a lambda": "(lambda file=open('MARKER', 'w'): 7)()",
    "list comprehension": "[open(path, 'w') for path in ['MARKER']]",
    "set comprehension": "{open(path, 'w') for path in ['MARKER']}",
    "dict comprehension": "{path: open(path, 'w') for path in ['MARKER']}",
    "generator": "sum(open(path, 'w').fileno() for path in ['MARKER'])",
    "map": "list(map(lambda path: open(path, 'w'), ['MARKER']))",
    "sort key": "sorted(['MARKER'], key=lambda path: open(path, 'w').fileno())",
    "f-string": "f\"{open('MARKER', 'w')}\"",
    "width in an f-string": "f\"{7:{open('MARKER', 'w').fileno()}}\"",
    "format string": "'{0.__class__}'.format(open('MARKER', 'w'))",
    "percent format": "'%s' % open('MARKER', 'w')",
    "getattr": "getattr(__import__('os'), 'sys' + 'tem')('touch MARKER')",
    "getattr chain": "getattr(getattr(__import__('builtins'), '__dict__'), 'get')('open')('MARKER', 'w')",
    "subclasses": (
        "[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close']"
        "[0].__init__.__globals__['system']('touch MARKER')"
    ),
    "made-up class": "type('A', (), {'__getattr__': lambda a, name: open('MARKER', 'w')})().value",
    "conditional": "7 if open('MARKER', 'w') else 8",
    "and": "7 and open('MARKER', 'w')",
    "term of a sum": "7 + 0 * open('MARKER', 'w').fileno()",
    "member of a tuple": "(7, open('MARKER', 'w'))",
    "index": "[7, 7, 7][0 * open('MARKER', 'w').fileno()]",
    "walrus": "(x := open('MARKER', 'w'))",
    "comment behind": "open('MARKER', 'w')  # = 7",
    # statements
    "import statement": "import os; os.system('touch MARKER')",
    "from-import statement": "from os import system as s; s('touch MARKER')",
    "decorator": "@lambda f: open('MARKER', 'w')\ndef f(): pass",
    "decorator exec": "@exec\n@(lambda f: \"open('MARKER', 'w')\")\ndef f(): pass",
    "class body": "class A:\n    x = open('MARKER', 'w')",
    "metaclass": "class A(metaclass=lambda *a: open('MARKER', 'w')): pass",
    "with block": "with open('MARKER', 'w'): pass",
    "except block": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    open('MARKER', 'w')",
    "doctest": ">>> file = open('MARKER', 'w')",
    # sympy
    "sympify": "sympify(\"open('MARKER', 'w')\")",
    "sympy's S": "S(\"open('MARKER', 'w')\")",
    "lambdify": "lambdify([], \"open('MARKER', 'w')\")()",
    # LaTeX
    "in text": r"\text{__import__('os').system('touch MARKER')}",
    "os.system in text": r"\text{os.system('touch MARKER')}",
    "in a fraction": r"\frac{open('MARKER', 'w')}{1}",
    "in an exponent": "x^{open('MARKER', 'w')}",
    "write18": r"\immediate\write18{touch MARKER}",
    # other languages
    "shell": "$(touch MARKER)",
    "shell, second command": "7; touch MARKER",
    "Jinja": "{{ cycler.__init__.__globals__.os.popen('touch MARKER').read() }}",
    "YAML": "!!python/object/apply:os.system ['touch MARKER']",
}


def _code(marker: str) -> Iterator[tuple[str, str]]:
    for name, payload in _PAYLOADS.items():
        yield f"code: {name}", payload.replace("MARKER", marker)
    statement = f"open({marker!r}, 'w')"
    yield "code: hexadecimal", f"exec(bytes.fromhex('{statement.encode().hex()}'))"
    yield "code: base64", f"exec(__import__('base64').b64decode('{base64.b64encode(statement.encode()).decode()}'))"
    pickled = f"cos\nsystem\n(Vtouch {marker}\ntR.".encode()
    yield "code: pickle", f"__import__('pickle').loads({pickled!r})"
