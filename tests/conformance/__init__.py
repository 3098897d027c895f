"""What every commit log promises, held against each log in turn."""

import pytest

pytest.register_assert_rewrite("tests.conformance.commit_log")
