"""A copick project behind a real ssh server on loopback."""

import asyncio
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncssh
import numpy as np
import pytest
import s3fs

from tomopick.errors import DataError
from tomopick.io.project import create_project, open_project
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

OBJECTS = (ParticleObject(name="blob", radius=40, label=1),)
TRUTH = Picks.of("TS_1", "blob", [[10, 20, 30], [40, 50, 60.5]])
FOUND = Picks.of("TS_1", "blob", [[11, 21, 31]], [0.8])


class Door(asyncssh.SSHServer):
    """Lets in who knows the password."""

    def __init__(self, guests: list[asyncssh.SSHServerConnection]) -> None:
        self.guests = guests

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.guests.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("lab", "secret")


async def _listen(guests: list[asyncssh.SSHServerConnection]) -> asyncssh.SSHAcceptor:
    key = asyncssh.generate_private_key("ssh-ed25519")
    door = partial(Door, guests)
    return await asyncssh.listen("127.0.0.1", 0, server_factory=door, server_host_keys=[key], sftp_factory=True)


async def _end(server: asyncssh.SSHAcceptor, guests: list[asyncssh.SSHServerConnection]) -> None:
    server.close()
    for guest in guests:
        guest.abort()
        await guest.wait_closed()


@pytest.fixture
def port() -> Iterator[int]:
    """Port of an ssh server that serves this machine's files."""
    guests: list[asyncssh.SSHServerConnection] = []
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(_listen(guests), loop).result()
    yield server.get_port()
    asyncio.run_coroutine_threadsafe(_end(server, guests), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(9, 12, 15)).astype(np.float32)


def configuration(folder: Path, volume: np.ndarray, port: int, password: str = "secret") -> Path:
    """A project in a folder, and beside it the configuration by which it is reached over ssh."""
    made = create_project(folder / "lab/config.json", OBJECTS)
    made.add_tomogram("TS_1", "wbp", 10.012, volume)
    made.add_picks(TRUTH, "curator", "1")
    way = {"host": "127.0.0.1", "port": port, "username": "lab", "password": password, "known_hosts": None}
    remote = json.loads(made.path.read_text()) | {"overlay_root": f"ssh://{folder}/lab", "overlay_fs_args": way}
    path = folder / "remote.json"
    path.write_text(json.dumps(remote))
    return path


def test_a_project_behind_ssh_is_read_and_written(tmp_path: Path, volume: np.ndarray, port: int):
    path = configuration(tmp_path, volume, port)
    remote = open_project(path)
    np.testing.assert_array_equal(remote.tomogram("TS_1", "wbp", 10)[2:5, :, 3:], volume[2:5, :, 3:])
    np.testing.assert_allclose(remote.picks().xyz(), TRUTH.xyz())
    remote.write_picks(FOUND, "model")
    found = open_project(tmp_path / "lab/config.json").picks(user="tomopick", session="model")
    np.testing.assert_allclose(found.xyz(), FOUND.xyz())
    assert found.scores().tolist() == [0.8]


def test_a_wrong_password_is_said_in_one_line(tmp_path: Path, volume: np.ndarray, port: int):
    path = configuration(tmp_path, volume, port, password="guess")
    with pytest.raises(DataError, match=r"remote.json: Permission denied") as refused:
        open_project(path)
    assert "\n" not in str(refused.value)


def test_an_ssh_server_that_does_not_answer(tmp_path: Path, volume: np.ndarray, port: int):
    path = configuration(tmp_path, volume, port)
    config = json.loads(path.read_text())
    config["overlay_fs_args"]["port"] = 1
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"cannot open the project .*remote.json: .*127.0.0.1"):
        open_project(path)


def test_an_s3_store_that_does_not_answer(tmp_path: Path, volume: np.ndarray, port: int, monkeypatch):
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    path = configuration(tmp_path, volume, port)
    once = {"retries": {"max_attempts": 0}}
    way = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:1", "config_kwargs": once}
    config = json.loads(path.read_text()) | {"overlay_root": "s3://bucket/lab", "overlay_fs_args": way}
    path.write_text(json.dumps(config))
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:1"):
        assert open_project(path).runs
