"""URLs of several servers: what they say, and what is said of a bad one."""

from __future__ import annotations

import pytest

from partitioning.redis_connect import connect
from partitioning.redis_url import ManyHosts


def test_sentinels_a_service_and_a_database() -> None:
    url = ManyHosts.parse(
        "redis+sentinel://er:p%40ss@one:1,two,[::1]:3/my%20primary/2?sentinel_password=s&client_name=er"
    )

    assert url.hosts == (("one", 1), ("two", 26379), ("::1", 3))
    assert url.service == "my primary"
    assert url.server(("::1", 6379)) == "redis://er:p%40ss@[::1]:6379/2?client_name=er"
    assert url.sentinel(("one", 1)) == "redis://one:1?client_name=er&password=s"


def test_nodes_of_a_cluster() -> None:
    url = ManyHosts.parse("rediss+cluster://:pw@one,two:7001?ssl_ca_certs=%2Fca.pem")

    assert url.hosts == (("one", 6379), ("two", 7001))
    assert url.server(("three", 7002)) == "rediss://:pw@three:7002?ssl_ca_certs=%2Fca.pem"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://one", "redis+cluster://"),
        ("one:6379", "must start with"),
        ("redis+sentinel://one", "name of the service"),
        ("redis+sentinel://one/er/first", "'first'"),
        ("redis+sentinel://one:port/er", "'port'"),
        ("redis+sentinel://one,,two/er", "host"),
        ("redis+cluster://", "host"),
        ("redis+cluster://one:70000", "'70000'"),
        ("redis+cluster://one/1", "database 0"),
        ("redis+cluster://one?socket_timeout=3", "'socket_timeout'"),
        ("redis://one:port", "port"),
        ("redis://one?no_such_option=1", "no_such_option"),
        ("redis://one?socket_timeout=3", "socket_timeout"),
    ],
)
def test_a_bad_url_is_refused_with_its_fault_and_without_its_password(url: str, said: str) -> None:
    for each in (url, url.replace("://", "://er:s3cret@", 1)):
        with pytest.raises(ValueError, match=r".") as caught:
            connect(each, [])
        assert said in str(caught.value)
        assert "s3cret" not in str(caught.value)
