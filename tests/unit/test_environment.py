"""Misspelt environment variables of the server."""

from dataclasses import fields

import pytest

from engagement_server.commands.environment import PREFIX, require_spelled
from engagement_server.commands.serve import config_sections, environment_variable
from engagement_server.errors import ConfigurationError

SETTINGS = [
    environment_variable(setting.name)
    for section in config_sections().values()
    for setting in fields(section)
]


def test_each_setting_with_a_letter_missing_or_twice_is_refused_by_the_name_that_is_meant() -> None:
    for setting in SETTINGS:
        for at in range(len(PREFIX), len(setting)):
            for misspelt in (setting[:at] + setting[at + 1 :], setting[:at] + setting[at] + setting[at:]):
                if misspelt in SETTINGS:
                    continue
                with pytest.raises(ConfigurationError, match=rf"{misspelt} is no setting; .* {setting}\?"):
                    require_spelled([misspelt], settings=SETTINGS)


@pytest.mark.parametrize(
    "name",
    [
        *SETTINGS,
        "ENGAGEMENT_SERVICE_HOST",
        "ENGAGEMENT_SERVICE_PORT_GRPC",
        "ENGAGEMENT_PORT",
        "ENGAGEMENT_PORT_50051_TCP_ADDR",
        "ENGAGEMENT_LISTEN_PORT",
        "ENGAGEMENT_IMAGE",
        "ENGAGEMENTS_DATA",
        "PATH",
    ],
)
def test_settings_and_variables_of_others_are_left_alone(name: str) -> None:
    require_spelled([name], settings=SETTINGS)
