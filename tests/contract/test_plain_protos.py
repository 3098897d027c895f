"""The contract without validation rules is the same contract, and needs nothing but google/protobuf."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message

OPTIONS = "engagement/v1/access.proto"
"""Has nothing but options of methods."""
WITHOUT = ("buf/validate/validate.proto", OPTIONS)
PROTOS = Path(__file__).parents[2] / "protos"
PLAIN = PROTOS / "plain"


def files(image: Path) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The files of the contract in an image, without comments."""
    read = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    for file in read:
        file.ClearField("source_code_info")
    return {file.name: file for file in read if file.package == "engagement.v1"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The plain protos, compiled with no other import path."""
    image = tmp_path_factory.mktemp("plain") / "plain.binpb"
    sources = sorted(str(path.relative_to(PLAIN)) for path in PLAIN.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PLAIN}", f"--descriptor_set_out={image}"]
    subprocess.run([*command, *sources], check=True)
    return files(image)


def without_rules(message: Message) -> None:
    """Removes custom options, which are extensions of the standard ones, and `debug_redact`."""
    for field, value in message.ListFields():
        if field.name == "options":
            for extension in [each for each, _ in value.ListFields() if each.is_extension]:
                value.ClearExtension(extension)
            if isinstance(value, descriptor_pb2.FieldOptions):
                value.ClearField("debug_redact")
            value.DiscardUnknownFields()
            if not value.ListFields():
                message.ClearField("options")
        elif field.message_type is not None:
            for each in value if isinstance(value, Sequence) else [value]:
                without_rules(each)


def test_the_plain_protos_are_the_contract_without_its_rules(
    plain: dict[str, descriptor_pb2.FileDescriptorProto], tmp_path: Path
) -> None:
    image = tmp_path / "contract.binpb"
    subprocess.run([sys.executable, PROTOS / "contract.py", "image", image], check=True)
    contract = files(image)
    del contract[OPTIONS]
    for file in contract.values():
        without_rules(file)
        kept = [name for name in file.dependency if name not in WITHOUT]
        del file.dependency[:]
        file.dependency.extend(kept)
    assert plain == contract


def test_the_plain_protos_import_only_what_every_toolchain_has(
    plain: dict[str, descriptor_pb2.FileDescriptorProto],
) -> None:
    imports = {name for file in plain.values() for name in file.dependency}
    assert {name for name in imports if not name.startswith("google/protobuf/")} <= plain.keys()
