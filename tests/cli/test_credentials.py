"""What the commands show a node of themselves, against a node that has security on and serves TLS only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.cli.command_line import CommandLine
from tests.support.ports import free_port

CA, CLIENTS, FOREIGN = trustme.CA(), trustme.CA(), trustme.CA()


def _written(folder: Path, name: str, issued: trustme.LeafCert) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


class Site:
    """A node's address, the first key, and the files of who trusts whom."""

    def __init__(self, folder: Path) -> None:
        self.url = f"https://127.0.0.1:{free_port()}"
        self.database = f"sqlite:///{folder}/er.sqlite"
        self.ca, self.clients, self.foreign = (folder / f"{each}.pem" for each in ("ca", "clients", "foreign"))
        for file, authority in ((self.ca, CA), (self.clients, CLIENTS), (self.foreign, FOREIGN)):
            authority.cert_pem.write_to_path(str(file))
        self.cert, self.cert_key = _written(folder, "scan-1", CLIENTS.issue_cert("scan.example", common_name="scan-1"))
        made = CommandLine(folder)("auth", "keys", "create", "root", "--policy", "admin", "--database", self.database)
        self.token = made.out.strip()
        self.token_file = folder / "token"
        self.token_file.write_text(f"{self.token}\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls-node")
    site = Site(folder)
    cert, key = _written(folder, "node", CA.issue_cert("127.0.0.1"))
    settings = {
        "ER_SECURITY": "on",
        "ER_TLS_CERT": str(cert),
        "ER_TLS_KEY": str(key),
        "ER_TLS_CLIENT_CA": str(site.clients),
        "ER_TLS_CLIENT_AUTH": "optional",
    }
    listen = ("--listen", site.url.removeprefix("https://"), "--database", site.database)
    with (
        (folder / "node.log").open("wb") as log,
        CommandLine(folder).start("dev", *listen, stderr=log, **settings) as node,
    ):
        assert node.stdout is not None
        assert site.url in node.stdout.readline(), (folder / "node.log").read_text()
        yield site
        node.terminate()
    assert _secret(site.token) not in (folder / "node.log").read_text()


@pytest.fixture
def er(site: Site, tmp_path: Path) -> CommandLine:
    """The command line with the node's address, and nothing to show."""
    return CommandLine(tmp_path, ER_URL=site.url)


def _secret(token: str) -> str:
    return token.split("_", 2)[2]


def test_a_token_comes_from_the_variable_or_from_a_file_that_goes_before_it(er: CommandLine, site: Site) -> None:
    (by_variable,) = er("--ca", site.ca, "auth", "me", "--json", ER_TOKEN=site.token).documents
    (by_option,) = er("--token-file", site.token_file, "--ca", site.ca, "auth", "me", "--json", ER_TOKEN="no").documents
    files = {"ER_TOKEN_FILE": str(site.token_file), "ER_CA": str(site.ca)}
    (by_files,) = er("auth", "me", "--json", **files).documents

    assert by_variable["principal"] == by_option["principal"] == by_files["principal"] == "key:root"
    er("publish", "orders.created", "{}", **files)  # a command that goes over WebSocket


def test_a_certificate_is_shown_by_options_and_by_variables(er: CommandLine, site: Site) -> None:
    root = {"ER_TOKEN": site.token, "ER_CA": str(site.ca)}
    er("auth", "policies", "put", "scans", "--publish", "scans.>", "--member", "cert:scan-*", **root)

    (me,) = er("--ca", site.ca, "--cert", site.cert, "--key", site.cert_key, "auth", "me", "--json").documents
    assert me["principal"] == "cert:scan-1"
    files = {"ER_CA": str(site.ca), "ER_CERT": str(site.cert), "ER_KEY": str(site.cert_key)}
    er("publish", "scans.done", "{}", **files)
    assert "orders.created" in er("publish", "orders.created", "{}", code=1, **files).err


def test_without_credentials_nobody_comes_in(er: CommandLine, site: Site) -> None:
    refused = er("--ca", site.ca, "auth", "me", code=1)
    assert "ER_TOKEN or --token-file" in refused.err


@pytest.mark.parametrize("given", ["none", "foreign"])
def test_without_the_nodes_authority_nothing_is_sent(er: CommandLine, site: Site, given: str) -> None:
    ca = ("--ca", site.foreign) if given == "foreign" else ()
    refused = er(*ca, "--token-file", site.token_file, "nodes", "list", code=4)
    assert "certificate" in refused.err
    assert _secret(site.token) not in refused.out + refused.err


@pytest.mark.parametrize("content", [None, b"\xff\xfe", "directory"])
def test_a_token_file_that_cannot_be_read_is_a_usage_error_that_names_it(
    er: CommandLine, site: Site, tmp_path: Path, content: bytes | str | None
) -> None:
    file = tmp_path / "token"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        file.mkdir()
    for command in (("auth", "me"), ("publish", "orders.created", "{}"), ("subscriptions", "list", "--json")):
        refused = er("--token-file", file, "--ca", site.ca, *command, code=2, ER_TOKEN=site.token)
        assert "--token-file" in refused.err
        assert str(file) in refused.err.replace("│", "").replace("\n", "").replace(" ", "")
        assert refused.out == ""


@pytest.mark.parametrize("option", ["--ca", "--cert"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_tls_file_that_cannot_be_used_is_named(
    er: CommandLine, site: Site, tmp_path: Path, option: str, content: str | None
) -> None:
    file = tmp_path / "broken.pem"
    if content is not None:
        file.write_text(content)
    others = () if option == "--ca" else ("--ca", site.ca, "--key", site.cert_key)
    refused = er(*others, option, file, "auth", "me", code=1, ER_TOKEN=site.token)
    assert "error:" in refused.err
    assert option.strip("-") in refused.err
    assert refused.out == ""


def test_a_token_is_shown_nowhere(er: CommandLine, site: Site) -> None:
    shown = {"ER_TOKEN": site.token, "ER_CA": str(site.ca)}
    secret = _secret(site.token)
    wrong = site.token[:-4] + "AAAA"
    for command, code, token in (
        (("config", "show"), 0, site.token),
        (("config", "show", "--json"), 0, site.token),
        (("auth", "me", "--json"), 0, site.token),
        (("auth", "keys", "list", "--json"), 0, site.token),
        (("auth", "audit", "--json"), 0, site.token),
        (("events", "show", "absent"), 3, site.token),
        (("auth", "me"), 1, wrong),
        (("auth", "me", "--json"), 1, wrong),
        (("publish", "orders.created", "{}"), 1, wrong),
        (("nodes", "list", "--url", f"https://127.0.0.1:{free_port()}"), 4, site.token),
    ):
        done = er(*command, code=code, **{**shown, "ER_TOKEN": token})
        assert secret not in done.out + done.err, command
        assert _secret(wrong) not in done.out + done.err, command
        for document in done.out.splitlines() if "--json" in command else ():
            json.loads(document)


def test_a_token_is_no_option_that_the_list_of_processes_shows(er: CommandLine, site: Site) -> None:
    refused = er("--token", site.token, "auth", "me", code=2)
    assert "No such option" in refused.err
