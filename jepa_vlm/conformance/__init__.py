"""Conformance: what the library promises about a backbone, checked on any backbone."""

from jepa_vlm.conformance.result import Check, Failure, NotApplicable, Result
from jepa_vlm.conformance.subject import Subject
from jepa_vlm.conformance.verify import CHECKS, checks_named, verify

__all__ = ["CHECKS", "Check", "Failure", "NotApplicable", "Result", "Subject", "checks_named", "verify"]
