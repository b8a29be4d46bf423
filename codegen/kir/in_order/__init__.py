"""Scheduling for cores that execute in order: loop nests as assembly functions, cycle by cycle."""
