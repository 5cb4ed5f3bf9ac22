"""The words by which an answer is told, as ``letter_parser`` reads them."""

from __future__ import annotations

from string import ascii_lowercase


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


LETTERS = {form.format(letter): letter.upper() for letter in ascii_lowercase for form in ("{}", "({})")}

STOPS = frozenset([".", "!", "?", ";", "\n"])
BREAKS = STOPS | _set(", : ( ) - / & …")
JOINING = _set("or and nor / & ,")
# Neither "a" nor "I" stands before these.
FOLLOWERS = _set(
    "according and are aren't as at based because but by due from given in is isn't not of on or since so than that to "
    "which while with"
)
SPLITTING = _set("although as because but hence since so therefore though thus whereas which while")
PARTING = STOPS | SPLITTING | _set(": ( ) -")
CONTRASTING = _set("except nor not than unlike")  # they deny the letter that follows
DENYING = _set(
    "cannot could discard discarded eliminate eliminated eliminates eliminating exclude excluded excludes excluding "
    "false if impossible incorrect invalid may might neither never nor not reject rejected unless unlikely whether "
    "wrong 不 误 誤 錯 错 非"
)
NAMES = _set("answer choice letter option 答案 选项 選項")  # "option B" is B
BESIDE = BREAKS | NAMES | _set("final the")  # what may stand beside a letter that is the whole answer
NOUNS = NAMES | _set("conclusion prediction response result selection solution 正解 答え 정답")
VERBS = _set(
    "choose chooses choosing chose chosen leaves leaving pick picked picking picks select selected selecting selects "
    "选 选择 選 選擇"
)
PHRASES = {("go", "with"), ("going", "with"), ("opt", "for"), ("settle", "on"), ("went", "with")}
CONCLUDING = _set("believe guess hence say so therefore think thus")
PLURALS = _set("are aren't")
COPULAS = PLURALS | _set("be is isn't was wasn't は 为 是 為")
SEEMING = COPULAS | _set("appears looks seems")
LINKS = COPULAS | frozenset([":", "=", "-", "\n"])
MODALS = _set("must should will would")
ADVERBS = COPULAS | _set(
    "actually also certainly clearly definitely evidently final indeed just likely most my not now obviously probably "
    "simply surely the then to 就 应 應 当 當 该 該"
)
FILLERS = LINKS | NAMES | ADVERBS | MODALS | CONCLUDING
FILLERS |= _set("appears as best correct follows for on only right seems us with , (")
PREPOSITIONS = _set("among at based for from here in of on that to")
QUALITIES = _set("accurate appropriate best correct false incorrect right true wrong 对 對 正确 正確")
QUALIFIED = NAMES | _set("description fit match one solution")
AFTER_QUALITY = SPLITTING | _set("and given here 的")
PATIENCE = 8  # words between "the answer to" and "is"
