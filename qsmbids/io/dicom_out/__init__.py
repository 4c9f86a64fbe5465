"""Maps as DICOM objects of the study that they were made from."""
