"""Profiles survive the disk, complete each other, and say what is wrong with a broken one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strop.agent.profile import PROFILE_FILE, Profile, read_profile, write_profile
from strop.tools.errors import ModelError

profiles = st.builds(
    Profile,
    call_format=st.none() | st.text(),
    stop_text=st.none() | st.text(),
    stop_token_id=st.none() | st.integers(min_value=0),
)


@given(profiles)
def test_what_is_written_is_read(profile: Profile) -> None:
    with TemporaryDirectory() as directory:
        write_profile(Path(directory), profile)
        assert read_profile(Path(directory)) == profile


@given(profiles, profiles, profiles)
def test_completing_is_associative_and_the_empty_profile_is_neutral(
    a: Profile, b: Profile, c: Profile
) -> None:
    assert a.over(b).over(c) == a.over(b.over(c))
    assert a.over(Profile()) == a == Profile().over(a)


def test_no_file_is_an_empty_profile(tmp_path: Path) -> None:
    assert read_profile(tmp_path) == Profile()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "want a JSON object"),
        ('{"call_fromat": "hermes"}', "unknown key call_fromat; known are call_format"),
        ('{"stop_token_id": "7"}', "stop_token_id must be int"),
        ('{"stop_token_id": true}', "stop_token_id must be int"),
        ('{"call_format": 1}', "call_format must be str"),
    ],
)
def test_a_broken_profile_names_file_and_fault(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / PROFILE_FILE).write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        read_profile(tmp_path)
    assert PROFILE_FILE in str(caught.value)
