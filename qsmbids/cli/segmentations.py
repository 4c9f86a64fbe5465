"""The segmentations of a run and the way from their T1w image, as the command line names them."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsmbids.cli.inputs import read_filters
from qsmbids.errors import ConfigError, InputError
from qsmbids.io.lesions import LESIONS, find_lesions
from qsmbids.io.nifti_header import read_header
from qsmbids.io.runs import Run
from qsmbids.io.segmentations import Segmentation, find_segmentations
from qsmbids.io.t1w import find_t1w
from qsmbids.io.transforms import IDENTITY, find_transform, read_t1w_transform

__all__ = ["check_one_run_each", "segmentations_of"]


def check_one_run_each(args: argparse.Namespace, runs: list[Run]) -> None:
    """Refuse one image for the regions of several heads or several acquisitions.

    Raises
    ------
    ConfigError
        Where a transform or a T1w image ties it to one participant, several runs of that
        participant are fine.
    """
    given = [*(args.segmentation or ()), *([args.lesions] if args.lesions else ())]
    files = [p for p in given if p.is_file()]
    if args.t1w not in (None, "auto"):
        files.append(Path(args.t1w))
    if args.t1w_transform not in (None, IDENTITY) and not Path(args.t1w_transform).is_dir():
        files.append(Path(args.t1w_transform))
    heads = {run.subject for run in runs}
    registered = args.t1w is not None or args.t1w_transform is not None
    if files and len(runs) > 1 and (len(heads) > 1 or not registered):
        raise ConfigError(
            f"{files[0].name} cannot be that of {len(runs)} runs",
            "--lesions" if files[0] == args.lesions else "--segmentation",
            "Select one run, or give BIDS derivatives with a segmentation for each.",
        )


def segmentations_of(run: Run, args: argparse.Namespace) -> dict[str, Any]:
    """Return what a plan says about segmentations, lesions and the way from T1w space to them.

    Raises
    ------
    InputError
        Nothing fits, or a grid is another one and there is no way to it.
    ConfigError
        Two segmentations share a label, or registration is wanted and antspyx missing.
    """
    if not (args.segmentation or args.lesions):
        return {}
    way = args.t1w is not None or args.t1w_transform is not None
    segmentations = [
        s for p in args.segmentation or () for s in find_segmentations(p.resolve(), run, way)
    ]
    lesions = find_lesions(args.lesions.resolve(), run, way) if args.lesions else None
    if args.segmentation:
        _check_labels(segmentations, [LESIONS] if lesions else [])
    plan: dict[str, Any] = {"segmentations": tuple(segmentations), "lesions": lesions}
    if all(s.space == "MEGRE" for s in (*segmentations, *([lesions] if lesions else ()))):
        return plan
    if args.t1w_transform is not None:
        transform = find_transform(args.t1w_transform, run)
        read_t1w_transform(transform)  # what is wrong with it is said before anything is computed
        return {**plan, "t1w_transform": transform}
    if args.t1w == "auto":
        t1w = find_t1w(args.bids_dir.resolve(), run, read_filters(args.bids_filter_file))
    else:
        t1w = Path(args.t1w).resolve()
    read_header(t1w)
    if importlib.util.find_spec("ants") is None:
        raise ConfigError(
            "registration needs antspyx, which is not installed",
            "--t1w",
            "Install it with 'pip install qsmbids[registration]', or give --t1w-transform.",
        )
    return {**plan, "t1w": t1w}


def _check_labels(segmentations: list[Segmentation], taken: Sequence[str]) -> None:
    labels = [*(s.label for s in segmentations), *taken]
    for label in labels:
        if labels.count(label) > 1:
            names = ", ".join(s.image.name for s in segmentations if s.label == label)
            raise ConfigError(
                f"several segmentations are called '{label}': {names}",
                "--segmentation",
                "Give one of them, or set them apart with seg- in the name.",
            )
    if not segmentations:
        raise InputError("no segmentation was found", "--segmentation")
