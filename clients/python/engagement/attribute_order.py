"""The attributes of both sets in the order in which the contract got them.

What outlives a version depends on it: ids of imported events are made from the attributes of the first
release, and exported tables have later ones at their end.
"""

from __future__ import annotations

from typing import Final

FIRST_RELEASE: Final = {
    "customer_info": (
        "server_time_stamp",
        "customer_status",
        "customer_type",
        "balance",
        "customer_id",
        "social_id",
        "imei",
        "user_name",
        "account_name",
        "role",
        "last_payment_date",
        "registration_date",
        "company_size",
        "store_zip_code",
        "store_number",
        "login_status",
        "currency",
        "company_branch",
    ),
    "personal_info": (
        "server_time_stamp",
        "name",
        "surname",
        "gender",
        "company",
        "customer_age",
        "email",
        "phone",
        "language",
        "other_contacts",
    ),
}
"""The attributes of the first release, by set. Never changes."""

LATER: Final[tuple[tuple[str, str], ...]] = ()
"""Sets and attributes that were added since; a new one comes last."""
