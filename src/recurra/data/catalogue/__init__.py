"""The catalogue of data sets that can be fetched by name, a file for each field."""

from recurra.data.catalogue.entry import Source
from recurra.data.catalogue.forecasting import FORECASTING
from recurra.data.catalogue.labelled import LABELLED
from recurra.data.catalogue.series import SERIES
from recurra.data.catalogue.speech import SPEECH
from recurra.data.catalogue.tagged import TAGGED
from recurra.data.catalogue.texts import TEXTS
from recurra.data.catalogue.translations import TRANSLATIONS
from recurra.data.catalogue.video import VIDEO

__all__ = ["SOURCES"]

SOURCES: dict[str, Source] = {
    source.name: source
    for sources in (TEXTS, LABELLED, TAGGED, SERIES, TRANSLATIONS, SPEECH, FORECASTING, VIDEO)
    for source in sources
}
