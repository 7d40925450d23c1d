"""`kallglotfs doctor` against set-ups that are really broken: on the first screen stand cause and mend.

What is broken in the machine is so in a mount namespace of the run's own, with the real command. What is
broken elsewhere is looked at in this process: starting Python fifty times takes a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from certificates import Authority, self_signed
from conftest import environment
from fault_proxy import FaultProxy
from kallglotfs.catalog.store import CatalogStore, catalog_path
from kallglotfs.cli.doctor import shown
from kallglotfs.clock import Clock
from kallglotfs.demo.knobs import Fault
from kallglotfs.doctor import contact, mounts
from kallglotfs.doctor import network as network_checks
from kallglotfs.doctor.examination import examine
from kallglotfs.doctor.finding import Level
from kallglotfs.doctor.places import filesystem_of
from kallglotfs.model import Recording
from netns import network
from scripted import scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import MountedFolder
    from kallglotfs.demo.server import DemoServer

NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
#: What a first screen holds.
ROWS, COLUMNS = 24, 80
#: Seconds that a run takes at the most: twenty, and the start of Python on a busy machine.
BOUND = 40
KNOWN = "rec_known"
AUTHORITY = Authority()
#: A /dev of its own, with what programs need and FUSE's device only where it is asked for.
OWN_DEV = (
    'mkdir "$DIR/dev" && mount -t tmpfs none "$DIR/dev" && '
    'cp -a /dev/null /dev/zero /dev/urandom {more} "$DIR/dev" && mount --move "$DIR/dev" /dev'
)


@dataclass
class Outcome:
    """What a run said."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def screen(self) -> str:
        """The first screen as a terminal shows it, as one line: wrapping is not what is asked about."""
        rows = []
        for line in self.out.splitlines():
            rows += [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)] or [""]
        return re.sub(r"\s+", " ", "".join(f"{row}\n" if len(row) < COLUMNS else row for row in rows[:ROWS]))

    def names(self, cause: str, mend: str, code: int = 1) -> None:
        """Assert that the cause and its mend are on the first screen, and what the exit code is."""
        assert not self.err, self.err
        assert cause in self.screen, self.out
        assert mend in self.screen.partition(cause)[2], self.out
        assert self.code == code, self.out
        assert self.seconds < BOUND


@dataclass
class SetUp:
    """A set-up that is good until a test breaks it.

    Attributes:
        prelude: shell commands that are run first, as root in a mount namespace of the run's own.
        user: words before the command that make it another user's.
    """

    service: DemoServer
    folder: Path
    options: dict[str, object]
    environ: dict[str, str]
    prelude: list[str] = field(default_factory=list)
    user: list[str] = field(default_factory=list)
    keep: tuple[Path, ...] = ()

    def know(self, *ids: str) -> Path:
        """Put recordings into the catalog, and return its file."""
        path = catalog_path(Path(str(self.options["state_dir"])), "default", str(self.options["api_url"]))
        store = CatalogStore(path, Clock())
        store.save(Recording(each) for each in ids)
        store.close()
        return path

    def look(self, *, offline: bool = False, verbose: bool = False) -> Outcome:
        """Check in this process, and show it as the command does."""
        began = time.monotonic()
        with pytest.MonkeyPatch.context() as patch:
            for name in [*os.environ]:
                if name not in self.environ:
                    patch.delenv(name)
            for name, value in self.environ.items():
                patch.setenv(name, value)
            # Mounts of other runs on this machine are none of this one's business.
            patch.setattr(mounts, "all_mounts", list)
            options = {name: str(value) for name, value in self.options.items()}
            report = examine("default", options, Clock(), offline=offline)
        text = "\n".join(shown(report, verbose=verbose, coloured=False))
        return Outcome(int(bool(report.of(Level.FAILURE))), text, "", time.monotonic() - began)

    def run(self, *words: str, prefix: tuple[str, ...] = ()) -> Outcome:
        """Run the doctor."""
        text = ",".join(f"{name}={value}" for name, value in self.options.items())
        command = [sys.executable, "-m", "kallglotfs", "doctor", *(("-o", text) if text else ()), *words]
        # Mounts of other runs on this machine are none of this one's business.
        kept = "|".join(str(path) for path in self.keep) or "-"
        away = f"case $m in {kept}) ;; *) umount -l $m;; esac"
        each = f"for m in $(findmnt -rno TARGET -t fuse.kallglotfs); do {away}; done"
        script = "\n".join(["set -e", each, *self.prelude, 'exec "$@"'])
        inside = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
        began = time.monotonic()
        done = subprocess.run(
            [*prefix, *inside, *self.user, *command],
            env=self.environ | {"DIR": str(self.folder), "COLUMNS": "80"},
            cwd=Path.cwd(), capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def made(service: DemoServer, folder: Path) -> SetUp:
    """Return a set-up that is good: a key in a file, and a known recording."""
    key = folder / "key"
    key.touch(mode=0o600)
    key.write_text(service.api_key)
    options = {"api_url": service.api_url, "api_key_file": key, "state_dir": folder / "state"}
    environ = environment(None) | {"HOME": str(folder), "XDG_CONFIG_HOME": ""}
    names = ("ca_bundle", "cert_file", "cert_dir", "_proxy")
    environ = {name: value for name, value in environ.items() if not name.lower().endswith(names)}
    service.add_recording(KNOWN, size=5000)
    return SetUp(service, folder, options, environ)


@pytest.fixture
def setup(service: DemoServer, tmp_path: Path) -> SetUp:
    """Root's set-up."""
    good = made(service, tmp_path)
    good.know(KNOWN)
    return good


@pytest.fixture
def theirs(service: DemoServer) -> Iterator[SetUp]:
    """An ordinary user's, with /dev/fuse open to it as distributions have it."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as home:
        good = made(service, Path(home))
        good.user = AS_NOBODY
        can = [*AS_NOBODY, sys.executable, "-c", "import kallglotfs"]
        if subprocess.run(can, capture_output=True, check=False).returncode:
            pytest.skip("this Python cannot be run by an ordinary user")
        for path in (good.folder, good.folder / "key"):
            os.chown(path, NOBODY, NOBODY)
        good.prelude = [OWN_DEV.format(more="/dev/fuse"), "chmod 666 /dev/fuse"]
        yield good


def test_a_good_set_up_is_all_right_and_costs_one_request(setup: SetUp) -> None:
    """Exit code 0, a summary of a line or two; every check is shown when asked for."""
    outcome = setup.run()
    assert (outcome.code, outcome.err) == (0, "")
    assert "0 failures" in outcome.out
    assert "(1 API request)" in outcome.out
    assert setup.service.requests.count("api") == 1
    if filesystem_of(setup.folder) != "tmpfs":
        assert "0 warnings" in outcome.out
        assert "all right" in outcome.out
    everything = setup.look(verbose=True)
    for name in (
        "/dev/fuse: there",
        "libfuse: 3",
        "API key: accepted",
        "storage: answers, with the range",
        "generation: 1",
        "clock: within",
        "catalog: ",
        "mounts: none",
        "key source: api_key_file",
    ):
        assert name in " ".join(everything.out.split()), name
    assert max(map(len, outcome.out.splitlines())) <= COLUMNS


def test_an_ordinary_users_good_set_up_is_all_right(theirs: SetUp) -> None:
    """Without a catalog the storage is not tried, and it is said how it would be; nothing is made."""
    outcome = theirs.run()
    assert (outcome.code, outcome.err) == (0, "")
    assert "0 failures, 0 warnings" in outcome.out
    assert "--recording ID" in outcome.screen
    assert not (theirs.folder / "state").exists()
    found = json.loads(theirs.run("--recording", KNOWN, "--json").out)
    assert {each["level"] for each in found["checks"]} == {"ok"}
    assert found["api_requests"] == 1


def test_no_device(setup: SetUp) -> None:
    """As in a container that was not given it."""
    setup.prelude = [OWN_DEV.format(more="")]
    setup.run().names("/dev/fuse is missing", "/dev/fuse")


def test_a_device_that_is_closed_to_the_user(theirs: SetUp) -> None:
    """By its permission bits."""
    theirs.prelude[-1] = "chmod 600 /dev/fuse"
    theirs.run().names("/dev/fuse cannot be opened (Permission denied)", "mend: chmod 666 /dev/fuse")


def test_root_that_may_not_mount(setup: SetUp) -> None:
    """As in a container, or a unit that is too hard."""
    setup.user = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    setup.run("--offline").names("may not mount (no CAP_SYS_ADMIN)", "SYS_ADMIN")


def test_fusermount3_that_is_not_on_the_path(theirs: SetUp) -> None:
    """It is there, and cron's PATH does not have it."""
    theirs.user = ["env", "PATH=/nowhere", "/usr/bin/setpriv", *AS_NOBODY[1:]]
    theirs.run().names("but not on PATH", "export PATH=$PATH:/")


def test_fusermount3_that_is_not_there(theirs: SetUp) -> None:
    """Covered by something that is no program."""
    theirs.prelude.append("mount --bind /dev/null $(realpath /usr/bin/fusermount3)")
    theirs.run().names("fusermount3: is not there", "mend: apt install fuse3")


def test_fusermount3_without_setuid(theirs: SetUp) -> None:
    """As a copy or a careless package leaves it."""
    theirs.prelude.append(
        'install -m 755 /usr/bin/fusermount3 "$DIR/f"; mount --bind "$DIR/f" $(realpath /usr/bin/fusermount3)'
    )
    theirs.run().names("does not run as root", "chmod 4755 ")


def test_allow_other_that_is_not_permitted(theirs: SetUp) -> None:
    """/etc/fuse.conf has it commented out."""
    (theirs.folder / "fuse.conf").write_text("# user_allow_other\n")
    theirs.prelude.append('mount --bind "$DIR/fuse.conf" /etc/fuse.conf')
    theirs.options["allow_other"] = "true"
    theirs.run().names("allow_other is set", "echo user_allow_other | sudo tee -a /etc/fuse.conf")


@pytest.mark.parametrize(
    ("text", "mode", "cause", "mend"),
    [
        ("sk_test_x", 0o644, "others may read it", "mend: chmod 600 "),
        ("\n", 0o600, "is empty", "mend: write it into "),
        ("sk_test_x and more", 0o600, "must be one line", "nothing but the secret"),
        (None, 0, "there is no such file", "install -m 600 /dev/stdin "),
    ],
    ids=["world-readable", "empty", "two-words", "missing"],
)
def test_a_key_file_that_is_refused(text: str | None, mode: int, cause: str, mend: str, setup: SetUp) -> None:
    """No request is made, and nothing of the key is shown."""
    key = setup.folder / "key"
    key.unlink()
    if text is not None:
        key.write_text(text)
        key.chmod(mode)
    outcome = setup.look()
    outcome.names(cause, mend)
    assert "sk_test_x" not in outcome.out
    assert setup.service.requests.count("api") == 0
    # The way to the service is looked at all the same.
    assert "there is no usable key" in outcome.screen


@pytest.mark.parametrize(
    ("knobs", "cause", "mend", "code"),
    [
        ({"account_status": 402}, "out of credits (402)", "top up", 1),
        ({"account_status": 403, "account_code": "organization_suspended"}, "(403)", "recordings:read", 1),
        ({"rate_limit": 0, "retry_after": "7"}, "(429) for 7 s", "wait for 7 s", 0),
        ({"rate_limit": 0, "retry_after": "600"}, "(429) for 600 s", "wait for 600 s", 1),
        ({"clock_skew": 7200.0}, "clock is 2 hours behind", "timedatectl set-ntp true", 0),
        ({"clock_skew": -7200.0}, "clock is 2 hours ahead of", "timedatectl set-ntp true", 0),
    ],
    ids=["402", "403", "429", "429-long", "clock-behind", "clock-ahead"],
)
def test_what_the_service_says_of_key_account_and_clock(
    knobs: dict[str, object], cause: str, mend: str, code: int, setup: SetUp
) -> None:
    """Told apart, at three requests at the most."""
    setup.service.knobs.change(knobs)
    outcome = setup.look()
    outcome.names(cause, mend, code)
    assert 1 <= setup.service.requests.count("api") <= 3
    assert f"({setup.service.requests.count('api')} API request" in outcome.out


def test_a_key_that_is_refused(setup: SetUp) -> None:
    """401, at one request."""
    setup.service.set_api_key("sk_test_another")
    outcome = setup.look()
    outcome.names("refuses it (401)", "make a new key")
    assert setup.service.requests.count("api") == 1


def test_a_service_in_trouble_is_not_asked_again_and_again(setup: SetUp) -> None:
    """503, at one request."""
    setup.service.knobs.faults = [Fault("api", "status", times=-1, status=503)]
    setup.look().names("in trouble itself: the API answers 503", "try again")
    assert setup.service.requests.count("api") == 1


def test_a_page_in_the_place_of_the_api(setup: SetUp) -> None:
    """A portal's, or an address without its /v1."""
    with scripted() as portal:
        page = b"HTTP/1.1 404 X\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi"
        portal.answer = lambda _: page
        setup.options["api_url"] = f"{portal.origin}/v1"
        setup.look().names("not the Kallglot API", "check api_url")


def test_an_api_that_refuses_connections(setup: SetUp) -> None:
    """Nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    setup.options["api_url"] = f"http://127.0.0.1:{port}/v1"
    setup.look().names("refuses the connection", "mend: check api_url")


def test_an_api_that_answers_no_connection(setup: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a firewall that drops: bounded in time."""
    monkeypatch.setattr(network_checks, "CONNECTING", 1.0)
    with FaultProxy(("127.0.0.1", 1)) as proxy:
        proxy.blackhole()
        setup.options["api_url"] = f"{proxy.origin}/v1"
        setup.look().names("does not answer", "firewall")


def test_an_api_that_accepts_and_says_nothing(setup: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounded in time as well."""
    monkeypatch.setattr(contact, "ASKING", 1.0)
    setup.service.knobs.change({"api_latency": 60.0})
    setup.look().names("not answered", "try again")


def test_a_name_that_does_not_exist(setup: SetUp) -> None:
    """A typing error in api_url; what lies behind it is not checked, the machine is."""
    (setup.folder / "net").mkdir()
    with network(setup.folder / "net") as net:
        setup.options["api_url"] = "https://api.kallgolt.example/v1"
        outcome = setup.run(prefix=tuple(net.command()))
    outcome.names("api.kallgolt.example cannot be resolved", "getent hosts api.kallgolt.example")
    assert "not checked: connection to the API" in outcome.screen


@pytest.mark.parametrize(
    ("make", "cause", "mend"),
    [
        (lambda: AUTHORITY.server("localhost", days=(-30, -1)), "has expired on 20", "timedatectl"),
        (lambda: AUTHORITY.server("localhost", days=(1, 30)), "is not valid before 20", "timedatectl"),
        (lambda: AUTHORITY.server("api.other.example"), "it is for api.other.example", "api_url"),
        (lambda: Authority().server("localhost"), "authority that is not known", "SSL_CERT_FILE="),
        (lambda: self_signed("localhost"), "vouches for itself", "SSL_CERT_FILE="),
    ],
    ids=["expired", "not-yet", "wrong-host", "unknown-authority", "self-signed"],
)
def test_a_certificate_that_is_refused(
    make: Callable[[], object], cause: str, mend: str, setup: SetUp
) -> None:
    """Told apart, and not a byte of a request is sent."""
    setup.environ["SSL_CERT_FILE"] = str(AUTHORITY.write(setup.folder / "ca.pem"))
    with scripted(tls=make(), host="localhost") as api:  # type: ignore[arg-type]
        setup.options["api_url"] = f"{api.origin}/v1"
        setup.look().names(cause, mend)
        assert api.received == 0


def test_a_proxy_that_cannot_be_used(setup: SetUp) -> None:
    """And its password is not shown."""
    setup.environ["ALL_PROXY"] = "socks5://me:CANARY@127.0.0.1:1"
    outcome = setup.look()
    outcome.names("socks5 proxy", "unset ALL_PROXY")
    assert "CANARY" not in outcome.out


def test_a_storage_that_cannot_be_reached(setup: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host than the API, and a firewall's favourite to forget."""
    monkeypatch.setattr(contact, "FETCHING", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    setup.service.public_storage_url = f"http://127.0.0.1:{port}"
    outcome = setup.look()
    outcome.names("storage: 127.0.0.1: cannot connect", "firewall")
    assert "signature" not in outcome.out
    assert setup.service.requests.count("api") == 1


def test_a_storage_that_ignores_ranges(setup: SetUp) -> None:
    """It works, slowly: a warning."""
    setup.service.knobs.faults = [Fault("storage", "ignore_range", times=-1)]
    setup.look().names("whole file when asked for a part", "pass Range on", code=0)


def test_a_storage_that_refuses_a_fresh_url(setup: SetUp) -> None:
    """After one renewal."""
    setup.service.knobs.faults = [Fault("storage", "status", times=-1, status=403)]
    setup.look().names("answers 403 to a fresh URL", "timedatectl")
    assert setup.service.requests.count("api") <= 3


def test_an_installation_with_downloads_alone_costs_a_second_request(setup: SetUp) -> None:
    """Which other routes there are is found out once."""
    setup.service.knobs.change({"download_only": True})
    assert setup.look().code == 0
    assert setup.service.requests.count("api") == 2


def test_generation_2_costs_a_second_request(setup: SetUp) -> None:
    """The storage is the API itself then."""
    setup.service.knobs.change({"generation": 2})
    outcome = setup.look(verbose=True)
    assert outcome.code == 0
    assert "generation: 2" in outcome.out
    assert setup.service.requests.count("api") == 2


def test_a_cache_directory_of_another_user(theirs: SetUp) -> None:
    """Left by a run as root."""
    cache = theirs.folder / "cache"
    cache.mkdir(mode=0o755)
    theirs.options |= {"cache_dir": cache, "disk_cache": "1G"}
    theirs.run().names("belongs to another user", "chown -R $(id -un) ")


def test_a_cache_directory_that_cannot_be_made(theirs: SetUp) -> None:
    """Below a directory of root's."""
    theirs.options |= {"cache_dir": "/var/cache/kallglotfs-none/x", "disk_cache": "1G"}
    theirs.run().names("cannot be made: /var/cache is not yours", "sudo install -d -m 700")


def test_a_cache_on_a_disk_that_is_nearly_full(setup: SetUp) -> None:
    """A warning: the mount does without the cache then."""
    cache = setup.folder / "cache"
    cache.mkdir(mode=0o700)
    setup.options |= {"cache_dir": cache, "disk_cache": "1G"}
    setup.prelude = [f"mount -t tmpfs -o size=8M,mode=700 none {shlex.quote(str(cache))}"]
    setup.run().names("8M free, too little", "make room", code=0)


def test_a_state_directory_that_is_read_only(setup: SetUp) -> None:
    """What is known could not be noted."""
    state = shlex.quote(str(setup.folder / "state"))
    setup.prelude = [f"mount --bind {state} {state} && mount -o remount,bind,ro {state}"]
    setup.run().names("lies on a filesystem that is read-only", "remount,rw")


def test_a_catalog_that_stays_locked(setup: SetUp) -> None:
    """By a program that hangs in the middle of a transaction."""
    with contextlib.closing(sqlite3.connect(setup.know(), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        setup.look().names("stays locked", "fuser -v ")


def test_a_catalog_that_is_damaged_or_newer(setup: SetUp) -> None:
    """It is left as it is."""
    path = setup.know()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    setup.look(offline=True).names("written by a newer kallglotfs", "upgrade kallglotfs")
    path.write_bytes(b"no database" * 1000)
    setup.look(offline=True).names("cannot be used", "keep a copy", code=0)
    assert path.read_bytes() == b"no database" * 1000
    assert setup.service.requests.count("api") == 0


def test_a_mount_whose_daemon_was_killed(setup: SetUp, mount: Callable[..., MountedFolder]) -> None:
    """Named, with the command that clears it; and that command works."""
    folder = mount()
    os.kill(folder.process.pid, signal.SIGKILL)
    folder.process.wait(10)
    setup.keep = (folder.path,)
    setup.run().names(f"{folder.path} is dead", f"kallglotfs umount {folder.path}")
    away = [sys.executable, "-m", "kallglotfs", "umount", str(folder.path)]
    assert subprocess.run(away, capture_output=True, timeout=30, check=False).returncode == 0


def test_a_mount_whose_daemon_is_stopped(setup: SetUp, mount: Callable[..., MountedFolder]) -> None:
    """It is asked for two seconds, by a process that may be lost; everything else is looked at."""
    folder = mount()
    setup.keep = (folder.path,)
    os.kill(folder.process.pid, signal.SIGSTOP)
    try:
        outcome = setup.run()
    finally:
        os.kill(folder.process.pid, signal.SIGCONT)
    outcome.names("does not answer: its daemon is stopped", "umount --lazy ")
    assert "(1 API request)" in outcome.out


@pytest.mark.parametrize(
    ("target", "cause", "code"),
    [("/opt/gone/mount.kallglotfs", "which is gone", 1), ("/bin/true", "leads to another program", 0)],
    ids=["stale", "foreign"],
)
def test_a_helper_link_that_leads_elsewhere(target: str, cause: str, code: int, setup: SetUp) -> None:
    """After the program was moved, or beside another installation."""
    link = f'ln -s {target} "$DIR/sbin/mount.kallglotfs"'
    setup.prelude = ['mkdir "$DIR/sbin"', link, 'mount --bind "$DIR/sbin" $(realpath /sbin)']
    setup.run().names(cause, "kallglotfs install-helper", code)


def test_a_typing_error_in_the_configuration(setup: SetUp) -> None:
    """With the nearest name; the machine is looked at, what depends on the settings is not."""
    file = setup.folder / "config.toml"
    file.write_text('[default]\nmemory_cach = "1G"\n')
    setup.options = {"config": file}
    outcome = setup.look(verbose=True)
    outcome.names("unknown setting 'memory_cach'", "write 'memory_cache'")
    assert "ok /dev/fuse" in outcome.screen or "ok /dev/fuse" in " ".join(outcome.out.split())
    assert setup.service.requests.count("api") == 0


def test_webhooks_that_cannot_be_received(setup: SetUp) -> None:
    """A secret that others may read; then an address that is taken."""
    secret = setup.folder / "secret"
    secret.write_text("whsec_canary")
    secret.chmod(0o640)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        setup.options |= {
            "webhook_listen": f"127.0.0.1:{taken.getsockname()[1]}",
            "webhook_secret_file": secret,
        }
        setup.look(offline=True).names("others may read it", f"chmod 600 {secret}")
        secret.chmod(0o600)
        setup.look(offline=True).names("Address already in use", "ss -ltnp")


def test_a_dozen_troubles_at_once_fit_the_first_screen(theirs: SetUp) -> None:
    """What fails stands before what is merely worse."""
    (theirs.folder / "key").chmod(0o644)
    theirs.options |= {"allow_other": "true", "cache_dir": "/var/cache/none/x", "disk_cache": "1G"}
    theirs.options["api_url"] = "http://127.0.0.1:9/v1"
    theirs.prelude[-1] = "chmod 600 /dev/fuse"
    outcome = theirs.run()
    for cause in (
        "chmod 666 /dev/fuse",
        "chmod 600",
        "user_allow_other | sudo",
        "install -d",
        "check api_url",
    ):
        assert cause in outcome.screen, outcome.out
    assert outcome.code == 1


def test_usage(setup: SetUp) -> None:
    """A wrong option is one line; JSON is JSON whatever is wrong."""
    wrong = setup.run("-o", "colour=red")
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.count("\n") == 1
    setup.service.set_api_key("sk_test_another")
    outcome = setup.run("--json")
    found = json.loads(outcome.out)
    assert (found["failures"], outcome.code) == (1, 1)
    (bad,) = [each for each in found["checks"] if each["level"] == "failure"]
    assert bad["name"] == "API key"
    assert bad["mend"]
