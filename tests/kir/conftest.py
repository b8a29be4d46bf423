"""Tests of the scheduler do not see what other tests have scheduled."""

from shared_schedules import _nothing_kept as _nothing_kept
