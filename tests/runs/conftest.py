"""The tiny shop on disk, for runs."""

from pathlib import Path

import pytest

from qr_env.shop.sources.files import write_shop
from tests.helpers.fakes import tiny_shop


@pytest.fixture(scope="module")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_shop(tiny_shop(), folder)
    return folder
