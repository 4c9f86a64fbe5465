"""What file names say, in the habits of several converters and of people."""

from pathlib import PurePosixPath

import pytest

from qsmbids.io.from_nifti.names import read_name


@pytest.mark.parametrize(
    ("path", "participant", "part", "echo"),
    [
        ("sub-01/swi/sub-01_echo-2_part-phase_GRE.nii.gz", "01", "phase", 2),
        ("sub-01/anat/sub-01_GRE_echo-2_part-phase.nii.gz", "01", "phase", 2),
        ("sub-01/anat/sub-01_rec-magnitude_echo-1_T2star.nii.gz", "01", "mag", 1),
        ("sub-01/anat/sub-01_acq-phase_T2star.nii.gz", "01", "phase", None),
        ("sub-01/anat/sub-01_acq-gremag_T2star.nii.gz", "01", "mag", None),
        ("sub-03/fmap/sub-03_magnitude1.nii.gz", "03", "mag", 1),
        ("sub-03/fmap/sub-03_phase2.nii.gz", "03", "phase", 2),
        ("sub01/mag/img_e3.nii", "01", "mag", 3),
        ("S001/magnitude_echo_02.nii.gz", "S001", "mag", 2),
        ("te1/phase.nii.gz", "", "phase", 1),
        ("005_gre_qsm_20200101120000_e2.nii", "", "", 2),
        ("006_gre_qsm_20200101120000_e2_ph.nii", "", "phase", 2),
        ("006_gre_qsm_e2_pha.nii", "", "phase", 2),
        ("12_t2star_gre_TE4.92ms_ph.nii.gz", "", "phase", None),  # a time, no number
        ("QSM_3D_p2_mono_e2a.nii", "", "", 2),
        ("SWI/PHA_TE2.nii.gz", "", "phase", 2),
        ("Mag.nii", "", "mag", None),
        ("phs3.nii", "", "phase", 3),
        ("gre_imaginary.nii.gz", "", "imag", None),
        ("gre_real.nii.gz", "", "real", None),
    ],
)
def test_participant_part_and_echo(path, participant, part, echo):
    says = read_name(PurePosixPath(path))
    assert (says.participant, says.part, says.echo) == (participant, part, echo)


def test_labels_are_kept_and_words_of_the_part_are_not():
    path = PurePosixPath("sub-1/ses-a/anat/sub-1_ses-a_acq-hi_rec-norm_run-02_flip-1_phase.nii")
    says = read_name(path)
    assert (says.session, says.acquisition, says.run) == ("a", "hiflip1", "02")
    assert says.reconstruction == "norm"
    assert says.words == ""


def test_words_tell_scans_apart_and_counters_do_not():
    first, second = (
        read_name(PurePosixPath(name)).words
        for name in ("005_gre_1mm_20200101120000_e1.nii", "006_gre_1mm_20200101120000_e1_ph.nii")
    )
    assert first == second == "gre1mm"
