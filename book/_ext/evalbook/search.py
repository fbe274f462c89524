"""Search that finds Chinese: English words as before, Chinese runs cut by jieba.

jieba's own dictionary has few of our terms, so the glossary's are added to it. A Chinese run of at
most LONGEST characters is indexed whole too: a reader may type it as it stands.
"""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path

from sphinx import search
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.search.en import SearchEnglish

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # jieba's source holds escapes that Python warns of
    import jieba

HAN = re.compile(r"[\u3400-\u9fff]+")
GLOSSARY = re.compile(r"^(`{3,}|:{3,})\{glossary\}[^\n]*\n(.*?)^\1\s*$", re.MULTILINE | re.DOTALL)
LONGEST = 12
FREQUENCY = 10_000_000  # above every word of jieba's dictionary, so that a term is never cut


def glossary_terms(text: str) -> list[str]:
    """The Chinese words of the unindented lines of a page's glossary blocks."""
    terms: list[str] = []
    for _, body in GLOSSARY.findall(text):
        for line in body.splitlines():
            if line and not line[0].isspace() and not line.startswith(":"):
                terms.extend(HAN.findall(line))
    return list(dict.fromkeys(terms))


class BookSearch(SearchEnglish):
    lang = "evalbook"
    language_name = "English with Chinese terms"

    def init(self, options: dict[str, str]) -> None:
        super().init(options)
        jieba.setLogLevel(logging.WARNING)
        for term in options.get("terms", "").split():
            jieba.add_word(term, freq=FREQUENCY)

    def split(self, input: str) -> list[str]:
        words = super().split(HAN.sub(" ", input))
        for run in HAN.findall(input):
            words.extend(jieba.cut_for_search(run))
            if len(run) <= LONGEST:
                words.append(run)
        return words


def add_terms(app: Sphinx, config: Config) -> None:
    page = Path(app.srcdir) / "book" / "glossary.md"
    terms = glossary_terms(page.read_text(encoding="utf-8")) if page.is_file() else []
    config["html_search_options"] = {"terms": " ".join(terms)}


def setup(app: Sphinx) -> None:
    search.languages["evalbook"] = BookSearch
    app.connect("config-inited", add_terms)
