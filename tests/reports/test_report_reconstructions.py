"""The report marks what the catalogues call a reconstruction."""

from massmatch.reports.reconstructions import is_reconstruction


def test_options_do_not_hide_a_reconstruction():
    assert is_reconstruction("asp-q:groups=3", "aunet")
    assert is_reconstruction("bce", "arfnet")
    assert not is_reconstruction("sm-tversky-s-a", "aunet")
