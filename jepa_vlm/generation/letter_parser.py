"""Reads an option letter out of free text, by few and strict rules that are the same for every letter.

Thoughts, tool calls and markup are taken off (``reply``). Then the first rule that applies decides, and a text that no
rule settles is a parse failure, never a guess:

1. The whole text is one letter, also named ("option B"), or the wording of exactly one option: ``red``.
2. The last statement: "the answer is B", "answer: B", a box, "I choose B", "it is B", "so B.", "B is correct", or a
   last sentence that is a letter. Where an answer is named, an option's wording is a statement too ("the answer is
   red"). A letter that is offered with another ("B or C") states none.
3. The text begins with a letter, and lists no other in the same way: ``C. red``.
4. Exactly one letter stands in brackets, quotes or emphasis: ``I think (C) fits``.

A letter names an option only where the next word could follow neither the article "a" nor the pronoun "I": the end,
punctuation, a word such as "because", or the option's own wording. Elsewhere ("the answer is A red apple", "I think")
it is a word, and so is any other letter in its place. What a clause denies ("not (A)", "A is wrong", "neither A nor
B"), supposes ("if", "could") or asks is not stated. The rules know English and Chinese.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase
from typing import NamedTuple, final

from jepa_vlm.generation.reply import answer_part, words

DECORATION = " \t\r\n*_`'\"().,:;!?[]"


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


def parse_letter(text: str, letters: Sequence[str], options: Sequence[str] = ()) -> str | None:
    """Return the option letter that ``text`` states, or None where it states none or is ambiguous.

    Args:
        text: What the model wrote, without its special tokens.
        letters: The option letters, upper case: ``("A", "B", "C")``. Others are never returned.
        options: The options' wordings in the same order; may be left out.
    """
    text = answer_part(text)
    reading = _Reading(text, letters, options)
    alone = [place for place, word in enumerate(reading.words) if word not in BESIDE]
    if len(alone) == 1 and reading.letter(alone[0]):
        return reading.offered(alone[0])
    bare = text.strip(DECORATION).casefold()
    same = [x for x, option in zip(letters, options, strict=False) if option.strip(DECORATION).casefold() == bare]
    if len(same) == 1:
        return same[0]
    statements = reading.statements()
    affirmed = [one for one in statements if not one.denied]
    if affirmed:
        last = affirmed[-1]
        withdrawn = any(one.denied and one.letter == last.letter for one in statements[statements.index(last) :])
        return None if withdrawn else last.letter
    return reading.leading() or reading.wrapped()


class _Statement(NamedTuple):
    place: int
    letter: str | None
    denied: bool = False


@final
class _Reading:
    """One reply as words, with what each letter in it is."""

    def __init__(self, text: str, letters: Sequence[str], options: Sequence[str]) -> None:
        self.words = words(text)
        self.letters = tuple(letters)
        self.wordings = {x: words(option) for x, option in zip(letters, options, strict=False)}
        self.starting: dict[str, list[str]] = {}  # letters by the first word of their wording
        for letter, wording in self.wordings.items():
            if len(wording) > 1 or (wording and len(wording[0].strip("()")) > 1):
                self.starting.setdefault(wording[0], []).append(letter)
        self.joins, self.joined = self._joins()
        self.listed = self._listed()
        self.denied = self._denied()

    def word(self, place: int) -> str:
        """Return the word at a place; beyond either end, that of a line end."""
        return self.words[place] if 0 <= place < len(self.words) else "\n"

    def letter(self, place: int) -> str:
        """Return the letter, upper case, that a word is, offered or not; "" if it is none."""
        return LETTERS.get(self.word(place), "")

    def offered(self, place: int) -> str | None:
        """Return the letter at a place if it is one of the options'."""
        return self.letter(place) if self.letter(place) in self.letters else None

    def is_wrapped(self, place: int) -> bool:
        """Say whether a word is a letter in brackets, quotes or emphasis."""
        return len(self.word(place)) == 3 and self.word(place) in LETTERS

    def begins_line(self, place: int) -> bool:
        """Say whether a word is the first of its line, a hyphen left out."""
        return self.word(place - 1) == "\n" or (self.word(place - 1) == "-" and self.word(place - 2) == "\n")

    def ends(self, place: int) -> bool:
        """Say whether a clause may end before a place: at punctuation, or where another script begins."""
        word = self.word(place)
        return word in BREAKS or word[0] >= "\u0370"

    def says(self, place: int, letter: str, *, whole: bool = False) -> bool:
        """Say whether the wording of an option stands at a place, and, if ``whole``, whether a clause ends with it."""
        wording = self.wordings.get(letter, [])
        end = place + len(wording)
        said = bool(wording) and self.words[place:end] == wording
        return said and (not whole or self.ends(end) or self.word(end) in SPLITTING)

    def names(self, place: int) -> bool:
        """Say whether the word at a place is a letter that names an option, and neither article nor pronoun."""
        letter = self.letter(place)
        if not letter or self.is_wrapped(place):
            return letter != ""
        return self.ends(place + 1) or self.word(place + 1) in FOLLOWERS or self.says(place + 1, letter, whole=True)

    def _joins(self) -> tuple[set[int], set[int]]:
        """Return the words that join two letters in a list, and those letters."""
        joins: set[int] = set()
        joined: set[int] = set()
        for place, word in enumerate(self.words):
            if word not in LETTERS or not self.names(place):
                continue
            other = place + 1
            while self.word(other) in JOINING or (other > place + 1 and self.word(other) in NAMES):
                other += 1
            between = range(place + 1, other)
            own = "or" not in self.words[place + 1 : other] and self.word(other + 1) in COPULAS - PLURALS  # "B is ..."
            if between and self.names(other) and self.letter(other) != LETTERS[word] and not own:
                joins.update(between)
                joined.update((place, other))
        return joins, joined

    def _listed(self) -> set[int]:
        """Return the letters that begin lines one after the other, as where options are repeated."""
        listed: set[int] = set()
        before = None
        for place, word in enumerate(self.words):
            if word != "-" and self.begins_line(place):
                labels = self.letter(place) and (self.is_wrapped(place) or self.word(place + 1) in {".", ")", ":"})
                if labels and before is not None and self.letter(before) != self.letter(place):
                    listed.update((before, place))
                before = place if labels else None
        return listed

    def _denied(self) -> list[bool]:
        """Say of every word whether it stands in a clause that denies, supposes or asks."""
        clause, first, denying = 0, 0, set()
        clauses = []
        for place, word in enumerate(self.words):
            contrast = word in CONTRASTING or (word == "of" and self.word(place - 1) == "instead")
            contrast = contrast and self._letter_soon(place + 1)
            clause += contrast
            out = word == "out" and self.word(place - 1).startswith("rul")
            if contrast or out or word in DENYING or word.endswith("n't"):
                denying.add(clause)
            clauses.append(clause)
            if word == "?":
                denying.update(range(first, clause + 1))
            clause += self._breaks(place)
            first = clause if word in STOPS else first
        return [one in denying for one in clauses]

    def _letter_soon(self, place: int) -> bool:
        while self.word(place) in NAMES or self.word(place) in {"the", "by", "for", "to", "with"}:
            place += 1
        return self.names(place)

    def _breaks(self, place: int) -> bool:
        """Say whether a clause ends with a word."""
        word = self.words[place]
        if word in {",", "and"}:
            return place not in self.joins
        if word in {".", ")", ":", "-"} and self.letter(place - 1):  # "A) is wrong", "A: wrong", "A. red is wrong"
            judged = self.begins_line(place - 1) and self.word(place + 1) in QUALITIES
            return not (word == ")" or judged or self.says(place + 1, self.letter(place - 1)))
        return word in PARTING

    def statements(self) -> list[_Statement]:
        """Return what is stated or denied, in order."""
        found: list[_Statement] = []
        state, patience = "", 0
        for place, word in enumerate(self.words):
            worded = self._worded(place) if state == "answer" else None
            letter = self.letter(place)
            if worded is not None:
                found.append(_Statement(place, worded, self.denied[place]))
            elif letter and self.names(place):
                led = state in {"answer", "letter"} or (state == "last" and self.ends(place + 1))
                if (led and place not in self.listed) or self._judged(place):
                    stated = None if place in self.joined else self.offered(place)
                    found.append(_Statement(place, stated, self.denied[place]))
            patience = patience - 1 if state == "far" else PATIENCE
            state = "" if worded is not None or letter or not patience else self._next(state, place, word)
        return [*found, *self._last_sentence()]

    def _next(self, state: str, place: int, word: str) -> str:
        """Return what is awaited behind a word.

        ``noun``: a link; ``far``: a copula; ``pronoun``: a copula; ``answer``: a letter or a wording; ``letter``;
        ``last``: a letter that ends its clause; "": nothing.
        """
        if word in NOUNS:
            return state if state == "answer" else "noun"
        if word in VERBS or (self.word(place - 1), word) in PHRASES:
            return "answer"
        if word in {"it's", "that's"}:
            return "letter"
        if word in {"it", "that"} and state != "far":
            return "pronoun"
        if word in CONCLUDING and state not in {"answer", "letter"}:
            return "last"
        if word in LINKS and state == "noun":
            return "answer"
        if state == "far" and (word in COPULAS or word == ":"):
            return "answer"
        if state == "pronoun" and word in COPULAS:
            return "letter"
        if state == "noun" and word in PREPOSITIONS:
            return "far"
        if state == "far":
            return "" if word in STOPS else "far"
        return state if word in FILLERS else ""

    def _worded(self, place: int) -> str | None:
        """Return the letter whose option's wording stands at a place and ends its clause, the longest if several."""
        fits = [x for x in self.starting.get(self.word(place), ()) if self.says(place, x)]
        fits.sort(key=lambda letter: len(self.wordings[letter]))
        if not fits or (len(fits) > 1 and self.wordings[fits[-1]] == self.wordings[fits[-2]]):
            return None
        end = place + len(self.wordings[fits[-1]])
        another = any(self.says(end + 1, letter) for letter in self.letters)
        ended = self.ends(end) and self.word(end) not in {"/", "&"} and not (self.word(end) == "," and another)
        return fits[-1] if ended or self.word(end) in SPLITTING else None

    def _judged(self, place: int) -> bool:
        """Say whether a letter is called correct, wrong or the answer: "B is correct", "B: wrong"."""
        after = place + 1
        if self.word(after) in {")", ".", ":", "-"} and self.says(after + 1, self.letter(place)):
            after += 1
        if self.says(after, self.letter(place)):
            after += len(self.wordings[self.letter(place)])
        after += self.word(after) == ")"
        named = self.is_wrapped(place) or self.word(place - 1) in NAMES
        label = self.begins_line(place) and self.word(after) in {":", "-", "."}
        modal = named and self.word(after) in MODALS
        if not (label or modal or self.word(after) in SEEMING):
            return False
        after += 1
        while self.word(after) in ADVERBS:
            after += 1
        judged = self.word(after) in QUALITIES
        after += judged
        called = self.word(after) in QUALIFIED
        after += called
        return (judged or called) and (self.ends(after) or self.word(after) in AFTER_QUALITY)

    def _last_sentence(self) -> list[_Statement]:
        """Return the letter that the last sentence consists of, unless another sentence consists of another one."""
        sentences: list[list[int]] = [[]]
        for place, word in enumerate(self.words):
            if word in STOPS and sentences[-1]:
                sentences.append([])
            elif word not in BESIDE:
                sentences[-1].append(place)
        said = [one for one in sentences if one]
        alone = [one[0] for one in said if len(one) == 1 and self.letter(one[0])]
        last = said[-1][0] if said else -1
        if last not in alone or self.denied[last] or {self.letter(one) for one in alone} != {self.letter(last)}:
            return []
        return [_Statement(last, self.offered(last))]

    def leading(self) -> str | None:
        """Return the letter that begins the text, unless others are listed in the same way."""
        place = next((i for i, word in enumerate(self.words) if word not in BREAKS), len(self.words))
        after = self.word(place + 1)
        barred = self.denied[place : place + 1] == [True] or place in self.joined | self.listed
        if not self.names(place) or barred or after in COPULAS:
            return None
        others = {
            self.letter(i)
            for i in range(place + 1, len(self.words))
            if self.letter(i)
            and (
                (self.is_wrapped(i) and self.is_wrapped(place))
                or (self.word(i + 1) == ")" == after)
                or (self.begins_line(i) and self.word(i + 1) in {".", ")", ":"})
            )
        }
        return self.offered(place) if others <= {self.letter(place)} else None

    def wrapped(self) -> str | None:
        """Return the only offered letter in brackets, quotes or emphasis."""
        barred = self.joined | self.listed
        found = {
            self.offered(i)
            for i in range(len(self.words))
            if self.is_wrapped(i) and self.offered(i) and i not in barred and not self.denied[i]
        }
        return found.pop() if len(found) == 1 else None
