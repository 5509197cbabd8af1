from __future__ import annotations

from pathlib import Path

import pytest

from deploy.azure.config import AzLogin, parse_config, read_config
from deploy.azure.errors import AzureError, Reason

WHOLE = """
name = "llama"
subscription = "00000000-0000-4000-8000-000000000001"
resource_group = "group"
location = "westeurope"
policy = "policy-azure.toml"
[machine]
size = "Standard_D2s_v5"
"""


def test_what_may_be_left_out_is_a_public_machine_of_whoever_is_logged_in() -> None:
    config = parse_config(WHOLE)
    assert config.login == AzLogin(kind="az")
    assert config.cloud.name == "AzureCloud"
    assert config.network.public
    assert config.network.clients == ("0.0.0.0/0",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("not toml", "not TOML"),
        (WHOLE.replace('name = "llama"', 'name = "-"'), "name"),
        (WHOLE.replace('name = "llama"', ""), "name"),
        (WHOLE.replace("8000-000000000001", "8000-1"), "subscription"),
        (WHOLE.replace("westeurope", "West Europe"), "location"),
        (WHOLE + 'disk = "os.img"', "machine.disk"),
        (WHOLE + "[network]\nclients = []", "network.clients"),
        (
            WHOLE + '[network]\nclients = ["everybody"]',
            "network.clients: expected an IPv4 network such as .*, got everybody;",
        ),
        (
            WHOLE + '[network]\nclients = ["10.0.0.0/8", "10.0.0.1/8"]',
            "network.clients: expected .*, got 10.0.0.1/8",
        ),
        (WHOLE + '[network]\nrange = "10.64.0.0/255.0.255.0"', "network.range"),
        (WHOLE + '[network]\nsubnet = "default"', "network.subnet: expected /subscriptions"),
        (WHOLE + '[cloud]\nresource_manager = "https://a"', "cloud"),
        (WHOLE + '[cloud]\nresource_manager = "http://a"\nactive_directory = "https://a"', "cloud"),
        (WHOLE + '[login]\nkind = "password"', "login"),
        (WHOLE + '[login]\nkind = "service-principal"\nsecret = "x"', "login"),
        (WHOLE + '[login]\nkind = "credential"\nfactory = "os.system"', "login"),
    ],
)
def test_what_it_does_not_say_as_it_must_is_named(text: str, what: str) -> None:
    with pytest.raises(AzureError, match=what) as caught:
        parse_config(text)
    assert caught.value.reason is Reason.CONFIG


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(AzureError) as caught:
        read_config(tmp_path / "deploy.toml")
    assert caught.value.reason is Reason.CONFIG
    assert str(caught.value) == (
        f"{tmp_path}/deploy.toml: expected a deployment's TOML: No such file or directory; "
        "docs/azure.md has a whole example [azure.config]"
    )


def test_the_document_explains_every_reason_and_its_example_is_whole(checkout: Path) -> None:
    text = (checkout / "docs" / "azure.md").read_text()
    for reason in Reason:
        assert f"| `{reason}` |" in text
    example = text.partition("```toml\n")[2].partition("```")[0]
    assert parse_config(example).machine.size == "Standard_D2s_v5"


def test_the_fleet_and_the_keys_of_the_page_are_read(checkout: Path) -> None:
    text = (checkout / "docs" / "azure.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```toml\n")[1:]]
    more = [block for block in blocks if block.startswith(("[fleet]", "[secure_boot]"))]
    assert len(more) == 2
    config = parse_config("\n".join([blocks[0], *more]))
    assert config.fleet is not None
    assert config.fleet.instances == 3
    assert config.secure_boot is not None
    assert config.secure_boot.image == "../build/secure-boot/os.img"


@pytest.mark.parametrize(
    "fleet", ["", "instances = 0", "instances = 101", "instances = 2\nmore = 1"]
)
def test_what_is_no_fleet(fleet: str) -> None:
    with pytest.raises(AzureError, match=r"fleet\.(instances|more)"):
        parse_config(f"{WHOLE}\n[fleet]\n{fleet}")
