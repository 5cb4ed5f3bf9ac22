"""Lessons: pictures with dense questions in words and by letter, from which a backbone learns to see."""

from jepa_vlm.playground.lessons.draw import EASY, FULL, TEACHERS, lessons
from jepa_vlm.playground.lessons.lesson import FORMS, Form, Lesson, Shown, Teacher, Turn

__all__ = ["EASY", "FORMS", "FULL", "TEACHERS", "Form", "Lesson", "Shown", "Teacher", "Turn", "lessons"]
