"""PostPost: one REST API that schedules posts to ten social platforms and reports what became of each."""

__version__ = "0.1.0"
