"""Checks of a backbone: whether the adapter, the processor and the engines agree with the stock model."""

from jepa_vlm.conformance.check import Check, CheckFailed, CheckResult, NotApplicable
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.conformance.verify import CHECKS, checks_named, verify

__all__ = ["CHECKS", "Check", "CheckFailed", "CheckResult", "NotApplicable", "Subject", "checks_named", "verify"]
