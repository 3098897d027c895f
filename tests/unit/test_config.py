"""A configuration validates itself, and its errors say what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engagement_server.config import Config
from engagement_server.errors import ConfigurationError
from engagement_server.http.config import HttpConfig
from engagement_server.log.nats.config import LogConfig
from engagement_server.workers.config import WorkerConfig

PEM = Path("any.pem")
MUTUAL = {"tls_cert": PEM, "tls_key": PEM, "mtls_listen": "a:1", "mtls_ca": PEM}
LOG = "nats://a:4222,tls://user:s3cret@b:4222, nats://c"


@pytest.mark.parametrize(
    ("partitions", "served", "count"),
    [
        ("1", [0], 1),
        ("4", [0, 1, 2, 3], 4),
        ("0/4", [0], 4),
        ("2-3,0/4", [0, 2, 3], 4),
        ("1,1-2,2/4", [1, 2], 4),
        ("1023/1024", [1023], 1024),
    ],
)
def test_partitions_are_a_number_or_some_of_a_number(partitions: str, served: list[int], count: int) -> None:
    config = Config(partitions=partitions)
    assert config.served_partitions == served
    assert config.partition_count == count


@pytest.mark.parametrize(
    "partitions", ["", "0", "-1", "x", "4/4", "0-4/4", "3-2/4", "/4", "1/", "1,/4", "1/2/3", "1025", "99999"]
)
def test_other_partitions_are_refused(partitions: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--partitions|the partitions of"):
        Config(partitions=partitions)


def test_the_servers_of_a_log_stand_between_commas() -> None:
    assert LogConfig(log=LOG).servers == ["nats://a:4222", "tls://user:s3cret@b:4222", "nats://c"]


@pytest.mark.parametrize(
    "log", ["a:4222", "http://a:4222", "nats://", "nats://a:x", "nats://a:99999", "nats://[a"]
)
def test_what_is_no_server_of_a_log_is_refused_without_telling_a_password(log: str) -> None:
    with pytest.raises(ConfigurationError, match="--log must be addresses") as refused:
        LogConfig(log=f"nats://user:s3cret@b:4222,{log}")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("section", "settings", "message"),
    [
        (LogConfig, {"log": " , "}, "--log must be addresses"),
        (Config, {"listen": "nowhere"}, "--listen must be HOST:PORT"),
        (Config, {"lame_duck_seconds": -1}, "--lame-duck-seconds must be a number from 0 to 3600"),
        (Config, {"max_connection_age_seconds": 1e7}, "--max-connection-age-seconds must be a number from 0"),
        (Config, {"listen": ":1"}, "--listen must be HOST:PORT"),
        (Config, {"tls_cert": PEM}, "--tls-cert and --tls-key belong together; give both or none"),
        (Config, {"tls_key": PEM}, "--tls-cert and --tls-key belong together; give both or none"),
        (Config, {"mtls_listen": "a:1"}, "--mtls-listen and --mtls-ca belong together; give both or none"),
        (Config, {"mtls_ca": PEM}, "--mtls-listen and --mtls-ca belong together; give both or none"),
        (Config, {"mtls_listen": "a:1", "mtls_ca": PEM}, "--mtls-listen needs the server's own certificate"),
        (Config, MUTUAL | {"mtls_listen": "a"}, "--mtls-listen must be HOST:PORT"),
        (Config, MUTUAL | {"listen": "a:1"}, "--mtls-listen must be another address than --listen"),
        (Config, {"listen": "a:65536"}, "--listen must be HOST:PORT"),
        (WorkerConfig, {"workers": 65}, "--workers must be a whole number from 1 to 64; got 65"),
        (WorkerConfig, {"workers": 0}, "--workers must be a whole number from 1 to 64; got 0"),
        (
            Config,
            {"retention_days": 0},
            "--retention-days must be a number more than 0 and at most 36500; got 0",
        ),
        (Config, {"retention_days": 0.5}, "give --allow-short-retention as well"),
        (
            Config,
            {"reserve_megabytes": -1},
            "--reserve-megabytes must be a whole number from 0 to 65536; got -1",
        ),
        (Config, {"reader_threads": 0}, "--reader-threads must be a whole number from 1 to 64; got 0"),
        (
            Config,
            {"heartbeat_seconds": 0.0},
            "--heartbeat-seconds must be a number from 0.01 to 3600; got 0.0",
        ),
        (Config, {"retention_days": float("nan")}, "--retention-days must be a number more .*; got nan"),
        (
            Config,
            {"upload_idle_hours": float("inf")},
            "--upload-idle-hours must be a number more .*; got inf",
        ),
        (
            HttpConfig,
            {"http": "9464"},
            "--http must be HOST:PORT, such as 127.0.0.1:9464, or off; got '9464'",
        ),
        (
            HttpConfig,
            {"http_hosts": "a,"},
            "--http-hosts must be names such as monitor-1,monitor-2; got 'a,'",
        ),
        (HttpConfig, {"http_hosts": "a:1"}, "--http-hosts must be names"),
        (LogConfig, {"log": LOG, "log_name": "a.b"}, "--log-name must be 1 to 64"),
        (LogConfig, {"log": LOG, "log_name": ""}, "--log-name must be 1 to 64"),
        (
            LogConfig,
            {"log": LOG, "log_days": 1, "snapshot_hours": 12.1},
            "--snapshot-hours 12.1 is more than half of --log-days 1",
        ),
        (
            LogConfig,
            {"log": LOG, "log_tls_key": Path("key.pem")},
            "--log-tls-cert and --log-tls-key belong together",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(
    section: type[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        section(**settings)


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        (WorkerConfig, {"workers": 1}),
        (WorkerConfig, {"workers": 64}),
        (Config, {"reserve_megabytes": 0}),
        (Config, {"retention_days": 36_500}),
    ],
)
def test_the_bounds_themselves_are_allowed(section: type[Any], settings: dict[str, Any]) -> None:
    assert {name: getattr(section(**settings), name) for name in settings} == settings


@pytest.mark.parametrize(
    "url",
    [
        "collector",
        "127.0.0.1:4318",
        "grpc://s3cret:4317/v1/traces",
        "http://s3cret:4318",
        "http://s3cret:4318/",
        "http:///v1/traces",
        "http://s3cret:none/v1/traces",
        "https://user:s3cret@collector/v1/traces",
    ],
)
def test_what_is_no_url_of_a_collector_is_refused_without_telling_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="--trace-endpoint must") as refused:
        Config(trace_endpoint=url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4318/v1/traces", "https://collector/otlp/v1/traces", ""])
def test_a_collector_is_a_whole_url(url: str) -> None:
    assert Config(trace_endpoint=url).trace_endpoint == url
