"""What the ``desc`` labels of output names mean; written to ``descriptions.tsv``."""

__all__ = ["DESCRIPTIONS"]

#: Meaning of the ``desc`` entities; the consensus paper numbers the masks.
DESCRIPTIONS = {
    "wholebrain": "Referenced to the mean over Mask 4",
    "csf": "Referenced to the cerebrospinal fluid",
    "whitematter": "Referenced to white matter",
    "internalcapsule": "Referenced to the internal capsule",
    "region": "Referenced to a region that was given",
    "references": "Susceptibility of every reference region under every reference",
    "passfilled": "First of two inversions: all voxels",
    "passtissue": "Second of two inversions: without strong sources",
    "twopass": "Voxels whose value comes from the first of two inversions",
    "unreferenced": "As the dipole inversion gave it, without a reference",
    "mask1": "Mask 1: whole brain from the magnitude",
    "mask2": "Mask 2: voxels with reliable phase",
    "mask3": "Mask 3: Masks 1 and 2 combined, holes filled; input of background removal",
    "mask4": "Mask 4: after background removal; data of the inversion and the statistics",
    "mask4noholes": "Mask 4 with its holes filled",
    "reference": "Region of reference",
    "iqms": "Image quality measures of the run",
    "phasequality": "Reliability of the phase of each voxel, 0 to 1",
    "unwrapped": "Unwrapped phase",
    "preproc": "Prepared input: phase in radians, magnitude without invalid values",
    "offset": "Phase at echo time zero",
    "rss": "Root of the sum of squares over the echoes",
    "weights": "Weights of the data in the dipole inversion",
    "swi": "Susceptibility-weighted image",
    "swimip": "Minimum-intensity projection of the susceptibility-weighted image",
    "smwi": "Susceptibility map-weighted image",
    "smwimip": "Minimum-intensity projection of the susceptibility map-weighted image",
    "total": "Total field",
    "local": "Local (tissue) field",
    "background": "Background field",
    "noise": "Standard deviation of the total field",
    "acquisition": "Scanner and sequence, from the raw sidecars",
}
