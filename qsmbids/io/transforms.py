"""Affine transforms in the files of ITK and ANTs, as matrices between scanner coordinates.

ITK maps points of the image that is resampled onto (the reference) to points of the image that
is resampled (the moving one), both in LPS+ [mm]: x to the left, y to the back, z up. BIDS calls
that transform of images ``from-<moving>_to-<reference>``.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qsmbids.errors import InputError
from qsmbids.io.matching import fits
from qsmbids.io.runs import Run
from qsmbids.io.write import write_text

__all__ = ["IDENTITY", "find_transform", "read_affine", "read_t1w_transform", "write_affine"]

Matrix = npt.NDArray[np.float64]

#: What a user writes where both images lie in the same scanner space already.
IDENTITY = "identity"

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MATRIX = ("AffineTransform", "MatrixOffsetTransformBase")
_CURE = (
    "Give one rigid or affine transform as ITK text (.txt, .tfm) or ANTs .mat;"
    " antsApplyTransforms brings a segmentation through any other kind."
)


def read_affine(path: Path) -> Matrix:
    """Read the one rigid or affine transform of an ITK file.

    Parameters
    ----------
    path : Path
        "Insight Transform File" text, or the ``.mat`` of ANTs (MATLAB version 4).

    Returns
    -------
    (4, 4) ndarray
        From points of the reference to points of the moving image, in RAS+ [mm].

    Raises
    ------
    InputError
        It cannot be read, or holds several transforms, a warp or a singular matrix.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", str(path)) from error
    if content.lstrip().startswith(b"#Insight Transform File"):
        kind, parameters, fixed = _parse_text(content.decode("utf-8", "replace"), path)
    elif path.suffix == ".mat":
        kind, parameters, fixed = _parse_mat(path)
    else:
        raise InputError("is no ITK transform file", str(path), _CURE)
    matrix, translation = _matrix(kind, parameters, fixed, path)
    centre = fixed[:3] if fixed.size >= 3 else np.zeros(3)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = translation + centre - matrix @ centre
    if not np.isfinite(affine).all() or not 1e-3 < abs(np.linalg.det(matrix)) < 1e3:
        raise InputError("holds a singular matrix", str(path), _CURE)
    converted: Matrix = _LPS_TO_RAS @ affine @ _LPS_TO_RAS
    return converted


def find_transform(source: str, run: Run) -> str:
    """Return the transform of a run: "identity", a file itself, or the one in a dataset.

    Parameters
    ----------
    source : str
        In a BIDS derivative, ``*_from-T1w_to-MEGRE_mode-image_xfm.txt`` (or ``.mat``), or that of
        the way back.
    run : Run
        No entity of the name may contradict it.

    Raises
    ------
    InputError
        None fits, or more than one does.
    """
    folder = Path(source).resolve()
    if source == IDENTITY:
        return source
    if not folder.is_dir():
        return str(folder)
    name = re.compile(r"_(from-T1w_to-(MEGRE|T2starw)|from-(MEGRE|T2starw)_to-T1w)_.*_xfm\.\w+$")
    transforms = [
        path
        for path in sorted((folder / f"sub-{run.subject}").rglob("*_xfm.*"))
        if path.suffix in (".txt", ".mat", ".tfm") and name.search(path.name)
    ]
    chosen = [path for path in transforms if fits(path.name, run)]
    if len(chosen) == 1:
        return str(chosen[0])
    names = f": {', '.join(path.name for path in chosen[:4])}" if chosen else ""
    raise InputError(
        f"{len(chosen)} transforms instead of one fit {run.label}{names}",
        source,
        f"Expected sub-{run.subject}/**/*_from-T1w_to-MEGRE_mode-image_xfm.txt there.",
    )


def read_t1w_transform(option: str) -> Matrix:
    """Return the matrix from points of the gradient echo to points of the T1w image.

    Parameters
    ----------
    given : str
        "identity", or a file. One whose BIDS name says ``to-T1w`` leads the other way and is
        inverted; any other is taken as ``from-T1w_to-MEGRE``.

    Raises
    ------
    InputError
        As for :func:`read_affine`.
    """
    if option == IDENTITY:
        return np.eye(4)
    matrix = read_affine(Path(option))
    leads_back = re.search(r"(?:^|_)to-T1w(?:_|\.)", Path(option).name)
    return np.asarray(np.linalg.inv(matrix)) if leads_back else matrix


def write_affine(path: Path, affine: Matrix) -> Path:
    """Write a matrix as ITK text; the inverse of :func:`read_affine`."""
    lps = _LPS_TO_RAS @ affine @ _LPS_TO_RAS
    numbers = " ".join(f"{n:.12g}" for n in (*lps[:3, :3].ravel(), *lps[:3, 3]))
    return write_text(
        path,
        "#Insight Transform File V1.0\n#Transform 0\n"
        f"Transform: AffineTransform_double_3_3\nParameters: {numbers}\n"
        "FixedParameters: 0 0 0\n",
    )


def _parse_text(text: str, path: Path) -> tuple[str, Matrix, Matrix]:
    """Return kind, parameters and fixed parameters of a text file."""
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            fields.setdefault(name.strip(), []).append(value.strip())
    kinds = fields.get("Transform", [])
    if len(kinds) != 1:
        raise InputError(f"holds {len(kinds)} transforms instead of one", str(path), _CURE)
    try:
        parameters, fixed = (
            np.array([float(word) for word in fields.get(name, [""])[0].split()])
            for name in ("Parameters", "FixedParameters")
        )
    except ValueError as error:
        raise InputError("is damaged: it holds words for numbers", str(path), _CURE) from error
    return kinds[0].partition("_")[0], parameters, fixed


def _parse_mat(path: Path) -> tuple[str, Matrix, Matrix]:
    """Return kind, parameters and fixed parameters of a MATLAB file of ANTs."""
    from scipy.io import loadmat

    try:
        content = {k: np.ravel(v) for k, v in loadmat(path).items() if not k.startswith("__")}
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise InputError("is no ANTs transform", str(path), _CURE) from error
    fixed = content.pop("fixed", np.zeros(3)).astype(np.float64)
    if len(content) != 1:
        raise InputError(f"holds {len(content)} transforms instead of one", str(path), _CURE)
    ((kind, parameters),) = content.items()
    return kind.partition("_")[0], parameters.astype(np.float64), fixed


def _matrix(kind: str, parameters: Matrix, fixed: Matrix, path: Path) -> tuple[Matrix, Matrix]:
    """Return matrix and translation in LPS+."""
    if kind in _MATRIX and parameters.size == 12:
        return parameters[:9].reshape(3, 3), parameters[9:]
    if kind == "Euler3DTransform" and parameters.size == 6:
        zyx = fixed.size > 3 and fixed[3] != 0
        return _rotation(parameters[:3], zyx), parameters[3:]
    if kind == "TranslationTransform" and parameters.size == 3:
        return np.eye(3), parameters
    if kind == "IdentityTransform":
        return np.eye(3), np.zeros(3)
    raise InputError(f"{kind or 'what it holds'} is not read here", str(path), _CURE)


def _rotation(angles: Matrix, zyx: bool) -> Matrix:
    """Return the rotation of ITK's Euler angles [rad]: Rz Rx Ry, or Rz Ry Rx."""
    turns = []
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[two, one], turn[one, two] = np.sin(angle), -np.sin(angle)
        turns.append(turn)
    x, y, z = turns
    return z @ y @ x if zyx else z @ x @ y
