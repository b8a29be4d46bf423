"""Reads pictures, and preprocesses pixels into the numbers that a network takes."""
