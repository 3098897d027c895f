from buf.validate import validate_pb2 as _validate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Date(_message.Message):
    __slots__ = ("year", "month", "day")
    YEAR_FIELD_NUMBER: _ClassVar[int]
    MONTH_FIELD_NUMBER: _ClassVar[int]
    DAY_FIELD_NUMBER: _ClassVar[int]
    year: int
    month: int
    day: int
    def __init__(self, year: _Optional[int] = ..., month: _Optional[int] = ..., day: _Optional[int] = ...) -> None: ...

class CustomerInfo(_message.Message):
    __slots__ = ("server_time_stamp", "customer_status", "customer_type", "balance", "customer_id", "social_id", "imei", "user_name", "account_name", "role", "last_payment_date", "registration_date", "company_size", "store_zip_code", "store_number", "login_status", "currency", "company_branch")
    SERVER_TIME_STAMP_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_STATUS_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_TYPE_FIELD_NUMBER: _ClassVar[int]
    BALANCE_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_ID_FIELD_NUMBER: _ClassVar[int]
    SOCIAL_ID_FIELD_NUMBER: _ClassVar[int]
    IMEI_FIELD_NUMBER: _ClassVar[int]
    USER_NAME_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    LAST_PAYMENT_DATE_FIELD_NUMBER: _ClassVar[int]
    REGISTRATION_DATE_FIELD_NUMBER: _ClassVar[int]
    COMPANY_SIZE_FIELD_NUMBER: _ClassVar[int]
    STORE_ZIP_CODE_FIELD_NUMBER: _ClassVar[int]
    STORE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    LOGIN_STATUS_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    COMPANY_BRANCH_FIELD_NUMBER: _ClassVar[int]
    server_time_stamp: int
    customer_status: str
    customer_type: str
    balance: str
    customer_id: str
    social_id: str
    imei: str
    user_name: str
    account_name: str
    role: str
    last_payment_date: Date
    registration_date: Date
    company_size: str
    store_zip_code: str
    store_number: str
    login_status: str
    currency: str
    company_branch: str
    def __init__(self, server_time_stamp: _Optional[int] = ..., customer_status: _Optional[str] = ..., customer_type: _Optional[str] = ..., balance: _Optional[str] = ..., customer_id: _Optional[str] = ..., social_id: _Optional[str] = ..., imei: _Optional[str] = ..., user_name: _Optional[str] = ..., account_name: _Optional[str] = ..., role: _Optional[str] = ..., last_payment_date: _Optional[_Union[Date, _Mapping]] = ..., registration_date: _Optional[_Union[Date, _Mapping]] = ..., company_size: _Optional[str] = ..., store_zip_code: _Optional[str] = ..., store_number: _Optional[str] = ..., login_status: _Optional[str] = ..., currency: _Optional[str] = ..., company_branch: _Optional[str] = ...) -> None: ...

class PersonalInfo(_message.Message):
    __slots__ = ("server_time_stamp", "name", "surname", "gender", "company", "customer_age", "email", "phone", "language", "other_contacts")
    SERVER_TIME_STAMP_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SURNAME_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    COMPANY_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_AGE_FIELD_NUMBER: _ClassVar[int]
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    OTHER_CONTACTS_FIELD_NUMBER: _ClassVar[int]
    server_time_stamp: int
    name: str
    surname: str
    gender: str
    company: str
    customer_age: str
    email: str
    phone: str
    language: str
    other_contacts: _containers.RepeatedCompositeFieldContainer[PersonalContact]
    def __init__(self, server_time_stamp: _Optional[int] = ..., name: _Optional[str] = ..., surname: _Optional[str] = ..., gender: _Optional[str] = ..., company: _Optional[str] = ..., customer_age: _Optional[str] = ..., email: _Optional[str] = ..., phone: _Optional[str] = ..., language: _Optional[str] = ..., other_contacts: _Optional[_Iterable[_Union[PersonalContact, _Mapping]]] = ...) -> None: ...

class PersonalContact(_message.Message):
    __slots__ = ("email", "phone")
    EMAIL_FIELD_NUMBER: _ClassVar[int]
    PHONE_FIELD_NUMBER: _ClassVar[int]
    email: str
    phone: str
    def __init__(self, email: _Optional[str] = ..., phone: _Optional[str] = ...) -> None: ...
