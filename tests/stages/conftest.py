import pytest


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    from lab import make_lab

    return make_lab(tmp_path_factory.mktemp("lab"))
