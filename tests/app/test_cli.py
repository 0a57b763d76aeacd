"""The command line teaches and refuses in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.store import Store, keys

runner = CliRunner()


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["submit"], ["admin"], ["admin", "create-key"], ["admin", "webhook"]]
)
def test_help_says_what_a_command_does(command: list[str]) -> None:
    shown = runner.invoke(cli, [*command, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.split()) > 20


def test_a_key_can_be_made_listed_and_revoked(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path)]
    key = runner.invoke(cli, ["admin", "create-key", "cart", "--scope", "ecgs:write", *folder]).output.strip()
    listed = runner.invoke(cli, ["admin", "list-keys", *folder]).output
    assert "cart" in listed
    assert key not in listed
    store = Store(f"sqlite:///{tmp_path / 'ecg2cmr.sqlite'}")
    with store.reading() as connection:
        found = keys.find(connection, key)
        assert found is not None
        assert found.scopes == {"ecgs:write"}
    assert runner.invoke(cli, ["admin", "revoke-key", found.key_id, *folder]).exit_code == 0
    with store.reading() as connection:
        assert keys.find(connection, key) is None
    store.close()


def test_a_webhook_can_be_added_listed_and_removed(tmp_path: Path) -> None:
    folder = ["--data-dir", str(tmp_path)]
    refused = runner.invoke(cli, ["admin", "webhook", "add", "https://127.0.0.1/hook", *folder])
    assert refused.exit_code == 1
    assert "private" in refused.output
    allowed = {"ECG2CMR_WEBHOOK_PRIVATE": "1"}
    added = runner.invoke(cli, ["admin", "webhook", "add", "https://127.0.0.1/hook", *folder], env=allowed)
    webhook_id, secret = added.output.split()
    assert secret.startswith("whsec_")
    listed = runner.invoke(cli, ["admin", "webhook", "list", *folder]).output
    assert webhook_id in listed
    assert secret not in listed
    assert runner.invoke(cli, ["admin", "webhook", "retry", webhook_id, *folder]).output.startswith("0 ")
    assert runner.invoke(cli, ["admin", "webhook", "remove", webhook_id, *folder]).exit_code == 0
    assert runner.invoke(cli, ["admin", "webhook", "remove", webhook_id, *folder]).exit_code == 1


def test_an_unknown_scope_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    refused = runner.invoke(cli, ["admin", "create-key", "x", "--scope", "everything", "--data-dir", str(tmp_path)])
    assert refused.exit_code == 1
    assert "ecgs:read" in refused.output
    missing = runner.invoke(cli, ["submit", str(tmp_path / "none.dcm")])
    assert missing.exit_code == 1
    assert "no such file" in missing.output


def test_a_gateway_that_does_not_answer_is_said_in_words(tmp_path: Path) -> None:
    file = tmp_path / "ecg.dcm"
    file.write_bytes(b"x")
    shown = runner.invoke(cli, ["submit", str(file), "--url", "http://127.0.0.1:9", "--key", "k"])
    assert shown.exit_code == 1
    assert "ecg2cmr serve" in shown.output
