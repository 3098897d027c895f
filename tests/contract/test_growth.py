"""Fields that the contract got since its release fit what was stored before."""

from __future__ import annotations

from google.protobuf import descriptor_pb2

from engagement import v1
from engagement.attribute_order import FIRST_RELEASE, LATER
from tests.support.contract import PROTOS, Descriptor, reachable


def released() -> dict[str, Descriptor]:
    """The message types of the released contract, by name."""
    image = (PROTOS / "released" / "engagement.v1.binpb").read_bytes()
    files = descriptor_pb2.FileDescriptorSet.FromString(image).file
    return {
        message.name: message
        for file in files
        if file.package == v1.Event.DESCRIPTOR.file.package
        for message in file.message_type
    }


def test_a_new_field_of_an_event_has_the_highest_number_of_its_message() -> None:
    """A server that does not know it keeps it behind the others, which is then its place.

    Ids and digests that servers make from the bytes of an event stay the same. Sets are exempt: an event has
    only one.
    """
    found = []
    for message in reachable(v1.Event.DESCRIPTOR):
        if message.name not in released():
            continue
        numbers = {field.number for field in released()[message.name].field}
        found += [
            field.full_name
            for field in message.fields
            if field.containing_oneof is None or field.containing_oneof.name != "attributes"
            if field.number not in numbers and field.number < max(numbers)
        ]
    assert not found


def test_every_attribute_has_its_place_in_the_order_of_the_contract() -> None:
    listed = [(set_name, name) for set_name, names in FIRST_RELEASE.items() for name in names]
    event: Descriptor = v1.Event.DESCRIPTOR
    sets = event.oneofs_by_name["attributes"].fields
    fields = [(each.name, field.name) for each in sets for field in each.message_type.fields]
    assert sorted([*listed, *LATER]) == sorted(fields), "add it at the end of LATER"
    assert len(listed) == 28, "the first release does not change"
