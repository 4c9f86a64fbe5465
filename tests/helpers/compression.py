"""Files with their pixels compressed as archives keep them; only the pixels change."""

from pathlib import Path

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

KINDS = ("jpeg lossless", "jpeg 2000", "jpeg-ls", "rle", "deflated")


def compress(path: Path, kind: str) -> None:
    """Compress a file without loss, in place."""
    dataset = pydicom.dcmread(path)
    if kind == "deflated":
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    else:
        other = _by_gdcm(path, kind)
        dataset.PixelData = other.PixelData
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = other.file_meta.TransferSyntaxUID
    dataset.save_as(path)


def _by_gdcm(path: Path, kind: str) -> pydicom.Dataset:
    """Return the file as gdcm writes it, which changes attributes too."""
    import gdcm

    syntax = {
        "jpeg lossless": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        "jpeg 2000": gdcm.TransferSyntax.JPEG2000Lossless,
        "jpeg-ls": gdcm.TransferSyntax.JPEGLSLossless,
        "rle": gdcm.TransferSyntax.RLELossless,
    }[kind]
    reader, change, writer = (
        gdcm.ImageReader(),
        gdcm.ImageChangeTransferSyntax(),
        gdcm.ImageWriter(),
    )
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    target = path.with_suffix(".gdcm")
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    found = pydicom.dcmread(target)
    target.unlink()
    return found
