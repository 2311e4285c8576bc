import pytest

from mtx.config.load import load_config
from mtx.config.settings import Config
from mtx.errors import ExitCode, UserError


@pytest.fixture
def load(tmp_path):
    """Reads a config with this text, `my.yaml`, and these overrides."""

    def load(text: str | bytes, *overrides: str) -> Config:
        path = tmp_path / "my.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, overrides)

    return load


@pytest.fixture
def errors_of(load, tmp_path):
    """Error lines for a config, without the path of the folder."""

    def errors_of(text: str | bytes, *overrides: str) -> list[str]:
        with pytest.raises(UserError) as caught:
            load(text, *overrides)
        assert caught.value.code == ExitCode.USAGE
        return [line.replace(f"{tmp_path}/", "") for line in caught.value.lines]

    return errors_of
