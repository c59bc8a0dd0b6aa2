"""Nothing that an install of massmatch brings is under a licence that would bind the code of who uses it."""

import re

import pytest

from licences import brought, licence

# GPL, AGPL, SSPL and EUPL reach the program that uses a library; LGPL and MPL stop at the library's own files.
COPYLEFT = re.compile(r"\b(A?GPL|SSPL|EUPL|CeCILL)|(?<!Lesser )(?<!Library or Lesser )General Public License", re.I)


@pytest.mark.parametrize("extra", ["", "all"])
def test_no_dependency_is_copyleft(extra):
    licences = {each.name: licence(each) for each in brought(extra)}
    assert len(licences) > 20
    assert [name for name, text in licences.items() if not text] == []
    assert {name: text for name, text in licences.items() if COPYLEFT.search(text)} == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("GPL-3.0-or-later", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0-only", True),
        ("LGPL-2.1", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("Apache-2.0 AND MIT", False),
    ],
)
def test_what_counts_as_copyleft(text, found):
    assert bool(COPYLEFT.search(text)) is found
