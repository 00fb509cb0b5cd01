"""Completions that say nothing, which judges reward all the same: `:`, `Solution`, `Let's solve this step by step.`

Such "master keys" get a good grade from most judges, in any language (Zhao et al. 2025, arXiv:2507.08794, table 1).
"""

import re
import unicodedata

PHRASES = """
    answer; answer is; answers; reasoning; reasoning process; solution; solution process; thought; thoughts;
    thought process; thinking process; chain of thought; explanation; analysis; proof; step by step;
    step by step solution; step by step reasoning; the answer; the answer is; the final answer is; final answer;
    the correct answer is; the solution is; the solution; here is the solution; heres the solution; my answer is;
    to solve this problem; to solve the problem; to answer this question; therefore; thus; hence; so; okay; ok;
    alright; sure; certainly; of course; well; hmm; great question; i will solve this problem; i think; assistant;
    解; 解答; 解析; 解题过程; 解题思路; 解决方案; 答案; 答; 答案是; 最终答案; 思考过程; 思路; 分析; 首先; 好的; 步骤;
    让我们一步一步地思考; 让我们一步一步思考; 让我们一步一步地解决这个问题; 让我们逐步解决这个问题;
    让我们一步步来解决这个问题; 解法; 答え; 解説; 解き方; かいせつ; こたえ; 思考過程; 回答;
    ステップバイステップで考えましょう;
    풀이; 해설; 해결; 정답; 답; 답은; 사고 과정; 단계별로 생각해 봅시다; 단계별로 풀어 봅시다;
    respuesta; la respuesta es; solución; proceso de pensamiento; resolvamos este problema paso a paso; paso a paso;
    resposta; a resposta é; solução; processo de pensamento; vamos resolver este problema passo a passo;
    réponse; la réponse est; solution étape par étape; résolvons ce problème étape par étape; étape par étape;
    lösung; antwort; die antwort ist; die antwort lautet; gedankengang; lösungsweg; schritt für schritt;
    lösen wir dieses problem schritt für schritt; lass uns dieses problem schritt für schritt lösen;
    risposta; soluzione; la risposta è; risolviamo questo problema passo dopo passo;
    решение; ответ; ход мыслей; давайте решим эту задачу шаг за шагом; шаг за шагом;
    odpowiedź; rozwiązanie; antwoord; oplossing; çözüm; cevap; lời giải; đáp án; giải; jawaban; solusi;
    الحل; الجواب; الإجابة; समाधान; उत्तर; हल
"""
"""They announce an answer and are none. What could well be one to a problem (yes, first, step 2) is not here."""
INVITATION = r"(?:first )?(?:lets|let us|let me|we need to|we will|i need to|i will|we can|we have to)"
INVITED = (
    "about all analyse analyze and answer approach at begin break by carefully check consider do down find first go "
    "how it look now problem question reason reasoning see solution solve solving start starting step steps tackle the "
    "think this through together to understand what with work"
).split()
"""What follows an invitation: `let's think about this problem step by step`."""
WRAPPERS = re.compile(r"</?[a-z_]{1,20}>|\\(?:boxed|fbox|text|math)[a-z]{0,4}")
"""Tags and LaTeX commands that hold an answer and are none."""
WITHIN_WORDS = re.compile("['’‘ʼ\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
"""Apostrophes, and what is not seen: soft hyphens, spaces of no width, marks of direction."""
WORD = re.compile(r"[^\W_]+")
BARE_SYMBOLS = frozenset("$^`~|")
"""Symbols that are markup or rules. Any other (>, +, ∞) may be an answer."""


def says_nothing(text: str) -> bool:
    """Whether nothing is left of a text after openers, punctuation and white space.

    >>> [says_nothing(text) for text in (":", "**Solution:**", "Let's solve this problem step by step.", "Solution: 7")]
    [True, True, True, False]
    """
    plain = WRAPPERS.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    if OPENERS.sub("", _words(plain)).strip():
        return False
    return not any(unicodedata.category(character)[0] == "S" and character not in BARE_SYMBOLS for character in plain)


def _words(plain: str) -> str:
    return " ".join(WORD.findall(WITHIN_WORDS.sub("", plain)))


def _openers() -> re.Pattern[str]:
    phrases = {_words(phrase.casefold()) for phrase in PHRASES.split(";")}
    longest_first = sorted(map(re.escape, phrases), key=len, reverse=True)
    invitation = rf"{INVITATION}(?: (?:{'|'.join(INVITED)})\b)*"
    return re.compile(rf"\b(?:{invitation}|{'|'.join(longest_first)})\b")


OPENERS = _openers()
