"""The storage: an nginx of our own, as fast as it goes and shaped, over HTTP and HTTPS.

`/signed/<group>/<name>` wants a signature and an expiry like the real storage; `/plain/<group>/<name>` is the
same file for the peers, who know no API. Every request is in the access log, from which requests and bytes
are counted.
"""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import access_log
from bench.processes import end, wait_for

if TYPE_CHECKING:
    from bench.access_log import StorageRequest
    from bench.certificates import Certificates

#: Seconds to the first byte of the shaped storage.
DELAY = 0.030
#: Bytes a second the shaped storage gives one connection.
RATE = 50_000_000

_MODULES = Path("/usr/lib/nginx/modules")

# sendfile_max_chunk with limit_rate: nginx otherwise sends a whole second's worth at once and then pauses,
# so that no range below 50 MB would be held back at all. With 256 KiB it pauses 5 ms after each.
_CONFIG = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
master_process on;
worker_processes 2;
user root;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  log_format count '{format}';
  access_log {home}/access.log count;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  default_type audio/mpeg;
  sendfile on; tcp_nopush on; tcp_nodelay on; etag on;
  keepalive_requests 1000000; keepalive_timeout 300s;
  sendfile_max_chunk 256k; output_buffers 1 256k;
  ssl_certificate {certificate}; ssl_certificate_key {key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:4m;
  {servers}
}}
"""

_SERVER = """
  server {{
    listen 127.0.0.1:{plain_port} backlog=1024;
    listen 127.0.0.1:{tls_port} ssl backlog=1024;
    {shape}
    location /signed/ {{
      secure_link $arg_signature,$arg_expires;
      secure_link_md5 "$secure_link_expires$uri {secret}";
      if ($secure_link = "") {{ return 403; }}
      if ($secure_link = "0") {{ return 403; }}
      {sleep}
      alias {files}/;
    }}
    location /plain/ {{ {sleep} alias {files}/; autoindex on; }}
  }}
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to reach the storage.

    Args:
        shaped: whether it is slowed down.
        scheme: http or https.
        base: scheme, host and port.
        authority: certificate authority to trust; None over http.
    """

    shaped: bool
    scheme: str
    base: str
    authority: Path | None

    def plain(self, group: str, name: str = "") -> str:
        """Return the unsigned URL of a file, or of a group's directory."""
        return f"{self.base}/plain/{group}/{name}"

    @property
    def label(self) -> str:
        """Return the scheme in capitals."""
        return self.scheme.upper()


@dataclass
class Storage:
    """Runs nginx until `stop`.

    Args:
        home: directory for configuration, logs and temporary files.
        files: directory that is served.
        certificates: for HTTPS.
        secret: what URLs are signed with.
    """

    home: Path
    files: Path
    certificates: Certificates
    secret: str
    variants: dict[tuple[bool, str], Variant] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Write the configuration and start; returns when all ports answer."""
        self.home.mkdir(parents=True)
        servers = []
        for shaped in (False, True):
            plain_port, tls_port = free_port(), free_port()
            for scheme, port in (("http", plain_port), ("https", tls_port)):
                trust = self.certificates.authority if scheme == "https" else None
                self.variants[shaped, scheme] = Variant(shaped, scheme, f"{scheme}://127.0.0.1:{port}", trust)
            servers.append(
                _SERVER.format(
                    plain_port=plain_port,
                    tls_port=tls_port,
                    files=self.files,
                    secret=self.secret,
                    shape=f"limit_rate {RATE};" if shaped else "",
                    sleep=f"access_by_lua_block {{ ngx.sleep({DELAY}) }}" if shaped else "",
                )
            )
        config = self.home / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                modules=_MODULES,
                home=self.home,
                format=access_log.FORMAT,
                certificate=self.certificates.certificate,
                key=self.certificates.key,
                servers="".join(servers),
            )
        )
        self._process = subprocess.Popen(
            ["nginx", "-p", str(self.home), "-e", str(self.home / "error.log"), "-c", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=(self.home / "stderr.log").open("wb"),
        )
        for variant in self.variants.values():
            port = int(variant.base.rpartition(":")[2])
            wait_for(lambda port=port: answers(port), 10, f"nginx (see {self.home / 'error.log'})")  # type: ignore[misc]

    def stop(self) -> None:
        """Stop nginx."""
        if self._process is not None:
            end(self._process)

    def variant(self, *, shaped: bool, scheme: str = "http") -> Variant:
        """Return one of the four ways to reach the files."""
        return self.variants[shaped, scheme]

    def mark(self) -> int:
        """Return where the log ends now, once nothing is under way."""
        self._settle()
        return self._log.stat().st_size

    def since(self, mark: int) -> list[StorageRequest]:
        """Return the requests since a mark, once nothing is under way."""
        self._settle()
        with self._log.open() as log:
            log.seek(mark)
            return access_log.parse(log)

    @property
    def _log(self) -> Path:
        return self.home / "access.log"

    def _settle(self) -> None:
        # A request is logged at its end, and a client that goes away ends it a moment later.
        size, still = -1, 0
        for _ in range(400):
            now = self._log.stat().st_size if self._log.exists() else 0
            still = still + 1 if now == size else 0
            if still >= 6:  # noqa: PLR2004 - 0.15 s: longer than the shaped storage's delay and a piece
                return
            size = now
            time.sleep(0.025)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Tell whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
