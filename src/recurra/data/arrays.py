"""Files of plain arrays: .npz, which is a zip file with an .npy file for each name. Pickled ones are refused."""

import zipfile
from pathlib import Path

import numpy

from recurra import files
from recurra.errors import DataError

__all__ = ["read_arrays", "write_arrays"]


def read_arrays(path: str | Path, names: tuple[str, ...]) -> dict[str, numpy.ndarray]:
    """The arrays of these names. Raises DataError for a file that is missing, broken, pickled or has not all."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as file:
            there = [name.removesuffix(".npy") for name in file.namelist()]
            if missing := [name for name in names if name not in there]:
                raise DataError(f"{path}: expected {', '.join(names)}; there is no {' and no '.join(missing)}")
            return {name: _array(file, name) for name in names}
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"cannot read {path}: no such file") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: expected plain arrays in an .npz file, never pickled ({error})") from error


def _array(file: zipfile.ZipFile, name: str) -> numpy.ndarray:
    with file.open(f"{name}.npy") as part:
        return numpy.lib.format.read_array(part, allow_pickle=False)


def write_arrays(path: str | Path, arrays: dict[str, numpy.ndarray]) -> None:
    """Write a compressed .npz file. Raises RunError if it cannot be written."""

    def fill(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as file:
            for name, array in arrays.items():
                info = zipfile.ZipInfo(f"{name}.npy")  # without a time, so that the same arrays are the same bytes
                info.compress_type = zipfile.ZIP_DEFLATED
                with file.open(info, "w", force_zip64=True) as part:
                    numpy.lib.format.write_array(part, array, allow_pickle=False)

    files.write(Path(path), fill)
